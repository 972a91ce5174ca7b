//! The URL of a proxy, as people write it.

use aliyun_client::endpoint::split_port;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::server::{Login, Origin, Proxy, Scheme, SettingError};

/// The most that SOCKS5 takes of a user name or a password, in bytes.
const MAX_SOCKS_LOGIN: usize = 255;

/// Reads `[scheme://][user[:password]@]host[:port][/]`. What is wrong is said without the text,
/// which may hold a password.
pub(super) fn parse(text: &str, origin: Origin) -> Result<Proxy, SettingError> {
    let wrong = |problem: &str| SettingError { origin, problem: problem.to_owned() };
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        None => (Scheme::Http, text),
        Some((name, rest)) => {
            let known = Scheme::ALL.into_iter().find(|s| name.eq_ignore_ascii_case(s.as_str()));
            (known.ok_or_else(|| wrong(&unknown(name)))?, rest)
        }
    };
    let (rest, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !matches!(path, "" | "/") {
        return Err(wrong("something follows its port"));
    }
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let (host, port) = split_port(place).ok_or_else(|| {
        wrong("its port is not a number from 1 to 65535, or an IPv6 address lacks its brackets")
    })?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed
            .strip_suffix(']')
            .filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
            .ok_or_else(|| wrong("what stands in brackets is not an IPv6 address"))?,
        None => host,
    };
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    let is_odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    if host.contains(is_odd) || host.len() > 253 {
        return Err(wrong("its host is not a name or an address"));
    }
    let port = port.unwrap_or(match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
        Scheme::Socks5 | Scheme::Socks5h => 1080,
    });
    let login = login.map(|login| read_login(login, scheme)).transpose().map_err(wrong)?;
    Proxy::new(scheme, host.to_ascii_lowercase(), port, login, origin).map_err(wrong)
}

/// What is said of a scheme that is none of the four. Only what looks like one is repeated.
fn unknown(name: &str) -> String {
    let is_scheme = name.len() <= 10
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    match is_scheme {
        true => format!("{name}:// is not a kind of proxy that is known here"),
        false => "what stands before its :// is not a kind of proxy".to_owned(),
    }
}

fn read_login(text: &str, scheme: Scheme) -> Result<Login, &'static str> {
    let decode = |text| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map_err(|_| "its user name or password is not UTF-8 once its %XX are decoded")
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let (user, password) = (decode(user)?, decode(password)?);
    if scheme.is_http() && user.contains(':') {
        return Err("its user name has a colon, which HTTP cannot tell from the password's");
    }
    if !scheme.is_http() && user.len().max(password.len()) > MAX_SOCKS_LOGIN {
        return Err("its user name or password is longer than the 255 bytes that SOCKS5 takes");
    }
    let secret = |text: &str| SecretString::from(text.to_owned());
    Ok(Login { user: secret(&user), password: secret(&password) })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn parts(text: &str) -> (String, Option<(String, String)>) {
        let proxy = parse(text, Origin::Flag).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(!format!("{proxy} {proxy:?}").contains("pw"), "{proxy:?}");
        let login = proxy.login.as_ref().map(|login| {
            (login.user.expose_secret().to_owned(), login.password.expose_secret().to_owned())
        });
        (proxy.to_string(), login)
    }

    #[test]
    fn urls_are_read_with_and_without_their_parts() {
        for (text, shown) in [
            ("proxy.example:3128", "http://proxy.example:3128"),
            ("Proxy.Example", "http://proxy.example:80"),
            (" http://10.0.0.1:3128/ ", "http://10.0.0.1:3128"),
            ("HTTPS://p", "https://p:443"),
            ("socks5://p", "socks5://p:1080"),
            ("socks5h://[::1]:9", "socks5h://[::1]:9"),
            ("[2001:db8::1]", "http://[2001:db8::1]:80"),
            ("http://my_proxy:1", "http://my_proxy:1"),
            ("http://xn--bcher-kva.example:1", "http://xn--bcher-kva.example:1"),
        ] {
            assert_eq!(parts(text), (shown.to_owned(), None), "{text}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_not_shown() {
        for (text, user, password) in [
            ("http://u:pw@h:1", "u", "pw"),
            ("u:pw@h:1", "u", "pw"),
            ("http://u@h:1", "u", ""),
            ("http://u:@h:1", "u", ""),
            ("http://:pw@h:1", "", "pw"),
            ("http://u%40corp:p%3Aw%2F%25@h:1", "u@corp", "p:w/%"),
            // As people write it, although it ought to be %40.
            ("http://u:pw@pw@h:1", "u", "pw@pw"),
            ("http://u:p:w@h:1", "u", "p:w"),
            ("http://u:pw%zz@h:1", "u", "pw%zz"),
        ] {
            let (shown, login) = parts(text);
            assert_eq!(shown, "http://h:1");
            assert_eq!(login, Some((user.to_owned(), password.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_without_the_password() {
        let long = format!("socks5://{}:pw@h", "u".repeat(256));
        let endless = format!("http://u:pw{}@h", "!".repeat(22_000));
        for (text, problem) in [
            ("", "no host"),
            ("http://", "no host"),
            ("http://u:pw@", "no host"),
            ("http://u:pw@:3128", "no host"),
            ("socks4://u:pw@h", "socks4:// is not a kind"),
            ("ftp://h", "ftp:// is not a kind"),
            ("u:pw://h", "what stands before"),
            ("http://u:pw@h:0", "port"),
            ("http://u:pw@h:65536", "port"),
            ("http://u:pw@h:+1", "port"),
            ("http://u:pw@h:", "port"),
            ("u:pw", "port"),
            ("http://u:pw/x@h:1", "something follows"),
            ("http://h/path", "something follows"),
            ("http://h?x", "something follows"),
            ("http://::1:80", "brackets"),
            ("http://[h]:80", "brackets"),
            ("http://u:pw@h h", "not a name"),
            ("http://u:pw@h\nx", "not a name"),
            // HTTP clients do not take these, and would connect without a proxy.
            ("http://10.0.0.300:3128", "not a name"),
            ("http://u:pw@1.2.3.4.5:1", "not a name"),
            ("https://u:pw@1.2.3.4.5:1", "not a name"),
            (endless.as_str(), "too long"),
            ("http://u:%ff@h", "UTF-8"),
            ("http://u%3A:pw@h", "colon"),
            (long.as_str(), "255 bytes"),
        ] {
            let error = parse(text, Origin::Flag).expect_err(text);
            assert!(error.to_string().contains(problem), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("pw"), "{text}: {error:?}");
        }
    }
}
