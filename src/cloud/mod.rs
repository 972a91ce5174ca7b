//! The API's client is that of [`aliyun_client`].

pub use aliyun_client::computenest;
pub use aliyun_client::ecs::*;
pub use aliyun_client::endpoint::*;
pub use aliyun_client::openapi::*;
pub use aliyun_client::regions;
pub use aliyun_client::sts::*;
