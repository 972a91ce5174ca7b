//! Errors of profiles in a list of them, and of those that others take their keys from.

use super::error::Error;
use super::source::Source;

impl Error {
    /// What is wrong with a profile, in a few words for a list of them.
    pub fn in_short(&self) -> String {
        match self {
            Self::MissingField { field, .. } => format!("lacks {field}"),
            Self::UnsupportedMode { source_of_it } => {
                format!("mode {} is not supported", source_of_it.mode())
            }
            Self::Malformed { part, .. } => format!("{part} is not one"),
            Self::BadField { field, problem, .. } => format!("{field} is invalid: {problem}"),
            Self::UnknownSourceProfile { name, .. } => format!("there is no profile '{name}'"),
            Self::Cycle { .. } => "source_profile is circular".to_owned(),
            Self::Expired { .. } => "expired".to_owned(),
            Self::OnTheWay { way, error } => match way.last() {
                Some(Source::Profile { name, .. }) => {
                    format!("profile '{name}': {}", error.in_short())
                }
                _ => error.in_short(),
            },
            other => other.to_string(),
        }
    }

    /// The same error of a source, where others take their keys from it: `way`, and by the way from
    /// the first of them to the last.
    pub(super) fn in_source_chain(self, mut way: Vec<Source>, source: Source) -> Self {
        way.push(source);
        // A profile that has its own keys for its role.
        way.dedup();
        match way.len() {
            1 => self,
            _ => Self::OnTheWay { way, error: Box::new(self) },
        }
    }
}
