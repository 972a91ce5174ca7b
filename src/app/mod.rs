//! What every command needs: an opened profile and client, errors and exit codes, printing.

mod about;
mod cloud;
mod error;
mod output;
mod setting;
mod signals;
pub(crate) mod table;
mod waiting;

pub(crate) use self::about::about;
pub(crate) use self::cloud::{Cloud, cache, query, resolve};
pub(crate) use self::error::{Done, Message, Result, usage};
pub(crate) use self::output::{note, print};
pub(crate) use self::setting::endpoint_option;
pub(crate) use self::signals::until_signal;
pub(crate) use self::waiting::with_notice;
pub(crate) use crate::explain::UsageError;
