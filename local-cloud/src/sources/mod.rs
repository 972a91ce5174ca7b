//! Where clients get temporary keys: roles that are assumed through STS, the metadata service of an instance, and a
//! credentials URI. STS itself is among the actions of the API.

mod fault;
mod issue;
mod login;
mod metadata;
mod record;
mod role;
mod serve;

pub(crate) use fault::take as take_source;
pub use fault::{SourceFault, SourcePart};
pub use issue::Lifetime;
pub(crate) use issue::{Issued, Issuer};
pub use login::Logins;
pub use metadata::{Metadata, MetadataTokens};
pub use record::SourceRecord;
pub use role::Role;
pub(crate) use serve::{answer, concerns};
