//! Readers of options' values.

use std::convert::Infallible;

use secrecy::SecretString;

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
