//! What OpenSSH's configuration has to say of this program: its words, its blocks, and the marked part
//! of a file that they stand in. Pure: text in, text out.

pub(crate) mod absolute;
pub(crate) mod blocks;
pub(crate) mod clash;
pub(crate) mod marks;
pub(crate) mod quote;
