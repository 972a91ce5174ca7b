//! How ssh comes to the instance.

use std::path::PathBuf;

use crate::openssh::Options;

/// How ssh comes to the instance.
pub(crate) struct Through {
    pub(super) options: Options,
    /// The words of its `ProxyCommand`.
    pub(super) words: Vec<String>,
    /// This program, as the first of them names it.
    pub(super) program: PathBuf,
}
