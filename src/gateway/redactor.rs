//! Removes the secrets of a session from the gateway's texts.

use std::fmt;

use aliyun_client::scrub::Scrub;

/// The secrets of a session, which give access to it.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Scrub);

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Redactor {
    /// Those of a session with this address and this token.
    pub(crate) fn of(url: &str, token: &str) -> Self {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let values = query.split('&').filter_map(|parameter| Some(parameter.split_once('=')?.1));
        Self(Scrub::new([url, query, token].into_iter().chain(values)))
    }

    /// A text of the gateway, less what it repeats of them.
    pub(crate) fn in_text(&self, text: &str) -> String {
        self.0.clean(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "wss://h/session?sessionid=s-0001&token=t%2Bk";

    #[test]
    fn a_refusal_does_not_show_what_it_refuses() {
        let text = "GET /session?sessionId=s-0001&token=t%2Bk with token-0001 is forbidden, no";
        let shown = Redactor::of(URL, "token-0001").in_text(text);
        assert_eq!(shown, "GET /session?sessionId=…&token=… with … is forbidden, no");
        assert_eq!(Redactor::of(URL, "").in_text("no"), "no");
    }
}
