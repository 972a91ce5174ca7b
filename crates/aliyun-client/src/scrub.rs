//! Somebody else's text, without what must not be shown.

use crate::openapi::sign::encode;

/// What stands in the place of a secret.
const HIDDEN: &str = "…";
/// What is shorter is no secret, and would take whole words away.
const SHORTEST: usize = 4;

/// What may not be shown, in every form in which somebody could repeat it. Without `Debug`, so that
/// it cannot be logged.
#[derive(Clone, Default)]
pub struct Scrub(Vec<String>);

impl Scrub {
    /// Of these secrets, but for those that are too short to be some.
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

    /// A text without them. It has to be whole: of a secret that is cut, a part would be left.
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
