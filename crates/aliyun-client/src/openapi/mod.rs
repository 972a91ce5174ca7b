//! Signed calls, sent again where that may help and does no harm.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod error;
#[cfg(any(test, fuzzing, feature = "testing"))]
#[doc(hidden)]
#[allow(clippy::unwrap_used, missing_docs)]
pub mod fuzzed;
pub(crate) mod network;
pub(crate) mod probe;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
#[allow(clippy::unwrap_used, missing_docs)]
pub mod scripted;
pub mod sign;
pub(crate) mod transport;

pub use answer::{AnswerError, ClockReading, Refusal};
pub use client::Client;
pub use config::{Config, Named};
pub use error::{CallContext, Error, Kind, Problem};
pub use network::NetworkError;
pub use probe::Verdict;
pub use sign::SignatureVersion;
pub use transport::MAX_ANSWER;
