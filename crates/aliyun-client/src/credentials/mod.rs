//! Who calls the API: the vendor's profile file and the environment, in the vendor's order.
//!
//! ```text
//! profile (the file), env ─▶ chain (the order) ─▶ CredentialSource ─▶ Provider
//!                            modes (what each needs)   uri metadata role oidc external     (cache)
//! ```
//! [`resolve`] reads files and variables and sends nothing: what is missing or contradicts itself is
//! found there. A [`Provider`] fetches credentials from the [`CredentialSource`] when a call first needs
//! them, and again before they end. It calls STS with a [`Client`](crate::openapi::Client) of the keys that
//! are exchanged.

mod answer;
mod cached;
mod chain;
mod credential_source;
mod env;
pub(crate) mod error;
mod external;
mod fetch;
mod fields;
#[cfg(any(test, fuzzing, feature = "testing"))]
#[doc(hidden)]
#[allow(clippy::unwrap_used, missing_docs)]
pub mod fuzzed;
mod host;
mod ini;
mod json;
pub(crate) mod keys;
mod login;
mod metadata;
mod mode;
mod modes;
mod obtain;
mod oidc;
mod overrides;
mod problem;
mod profile;
pub(crate) mod provide;
mod provider;
mod query;
mod role;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod scripted;
mod shell;
pub(crate) mod source;
mod uri;

pub use chain::{problems, profile_paths, profile_variable, resolve, resolve_as_if};
pub use credential_source::CredentialSource;
pub use error::{Error, HOME_VARIABLE};
pub use fetch::Problem as FetchProblem;
pub use fields::check;
pub use host::{FetchContext, Host, Renewed, Restore, SaveError, Variables};
pub use ini::section_types;
pub use keys::{Credentials, mask};
pub use mode::{mode_of, modes};
pub use overrides::{Overrides, placeholder, resolve_with};
pub use problem::{ExternalProblem, LoginProblem, LookedAt, MetadataProblem, UriProblem, listed};
pub use provide::{ProvideCredentials, Providing};
pub use provider::Provider;
pub use query::{Query, Resolved, Setting, home, in_home};
pub use role::USUAL_SECONDS;
pub use shell::{program_file, shell_word, shell_words};
pub use source::Source;
