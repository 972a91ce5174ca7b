//! The API's client is that of [`aliyun_client`].

pub(crate) use aliyun_client::computenest;
pub(crate) use aliyun_client::ecs::*;
pub(crate) use aliyun_client::endpoint::*;
pub(crate) use aliyun_client::openapi::*;
pub(crate) use aliyun_client::regions;
