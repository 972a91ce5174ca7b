//! Readers of options' values.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use secrecy::SecretString;

use crate::credentials::{home, in_home};

/// Reads a number within bounds.
pub(super) fn whole<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a number from {least} to {most}"))
    }
}

/// What is not shown, however the command line is.
pub(super) fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.to_owned().into())
}

/// Reads a path, with the home folder in place of a tilde: a shell leaves that of `--option=~/file`.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| in_home(&path, home().as_deref()))
}
