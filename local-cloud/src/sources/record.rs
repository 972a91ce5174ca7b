//! What the metadata service and the credentials URI were asked.

use std::time::SystemTime;

use super::SourcePart;

/// A question to the metadata service or to the credentials URI.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceRecord {
    /// What was asked.
    pub part: SourcePart,
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The HTTP status of the answer; 0 if there was none.
    pub status: u16,
    /// The AccessKeyId that was handed out.
    pub access_key_id: Option<String>,
    /// When it came.
    pub at: SystemTime,
}
