//! Credentials are those of [`aliyun_client`]; profile files are changed here.

#[cfg(test)]
mod chain_tests;
pub(crate) mod edit;
pub(crate) mod form;
pub(crate) mod host;
#[cfg(test)]
mod modes_tests;
pub(crate) mod store;

pub(crate) use aliyun_client::credentials::*;
