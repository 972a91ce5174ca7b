//! The local side of `session`: keys with their escapes or a script, the output, and a spinner while the
//! session opens.

mod escape;
pub(crate) mod idle;
mod input;
mod output;
mod spinner;

pub(crate) use self::escape::{Action, Escapes};
pub(crate) use self::input::ShellInput;
pub(crate) use self::output::{OutputState, ShellOutput};
pub(crate) use self::spinner::Spinner;
