//! Credentials are those of [`aliyun_client`]; profile files are changed here.

pub(crate) mod edit;
pub(crate) mod form;
pub(crate) mod host;
pub(crate) mod store;

pub use aliyun_client::credentials::*;
