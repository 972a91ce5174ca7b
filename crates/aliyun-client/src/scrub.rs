//! Removes secrets from text that comes from elsewhere.

use crate::openapi::sign::encode;

/// The placeholder for a secret.
const HIDDEN: &str = "…";
/// Shorter values are not removed: they would match in ordinary words.
const SHORTEST: usize = 4;

/// Secrets in every form in which an answer could repeat them. Without `Debug`, so that they cannot
/// be logged.
#[derive(Clone, Default)]
pub struct Scrub(Vec<String>);

impl Scrub {
    /// Takes secrets; values that are too short are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST) {
            let once = encode(secret);
            forms.push(encode(&once));
            forms.push(once);
            forms.push(secret.to_owned());
        }
        // The longest first: a short one may be part of it.
        forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self(forms)
    }

    /// A text without them. It has to be complete: part of a secret that is cut would remain.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in &self.0 {
            if text.contains(form) {
                text = text.replace(form, HIDDEN);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_and_the_longest_first() {
        let scrub = Scrub::new(["a/b+", "a/b+c=", "abc", ""]);
        for (text, shown) in [
            ("a/b+", "…"),
            ("<a/b+c=>", "<…>"),
            ("a%2Fb%2Bc%3D&a%252Fb%252B", "…&…"),
            ("abc", "abc"),
        ] {
            assert_eq!(scrub.clean(text), shown);
        }
        assert_eq!(Scrub::default().clean("a/b+"), "a/b+");
    }
}
