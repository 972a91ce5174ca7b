//! Percent-encoding as the signatures want it (RFC 3986), and the way back from the wire.

use std::collections::BTreeMap;

/// Parameters by name. Both signatures sort by name, so does this map.
pub(crate) type Params = BTreeMap<String, String>;

/// Why a query or form could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodingError {
    /// A `%` without two hex digits behind it, or bytes that are no UTF-8.
    #[error("`{0}` is not percent-encoded UTF-8")]
    Malformed(String),
    /// One name, two values: which one was signed?
    #[error("the parameter `{0}` is given twice")]
    Repeated(String),
    /// Readable, but not spelt as the signature's own encoding spells it.
    #[error("`{raw}` is not encoded by RFC 3986, which would be `{wanted}`")]
    NotCanonical {
        /// As it came.
        raw: String,
        /// As it should have come.
        wanted: String,
    },
}

/// RFC 3986: everything but the unreserved characters becomes `%XX`, in upper case.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

/// `name=value` pairs, sorted, encoded, joined with `&`.
pub(crate) fn canonical_query(params: &Params) -> String {
    let pairs: Vec<String> =
        params.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

/// How strictly a query is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As [`encode`] would have written it, but that a space may be `+`: the vendor's V3 clients sign it as `%20`
    /// and send it so.
    Canonical,
    /// As HTML forms are written: `+` is a space, and any character may be escaped or not.
    Form,
}

/// Splits and decodes a raw query or form body.
pub(crate) fn parse(raw: &str, reading: Reading) -> Result<Params, EncodingError> {
    let mut params = Params::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, reading)?;
        let value = decode(value, reading)?;
        if params.contains_key(&name) {
            return Err(EncodingError::Repeated(name));
        }
        params.insert(name, value);
    }
    Ok(params)
}

fn decode(raw: &str, reading: Reading) -> Result<String, EncodingError> {
    let malformed = || EncodingError::Malformed(raw.to_owned());
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(malformed());
                };
                out.push(u8::try_from(high << 4 | low).map_err(|_| malformed())?);
            }
            b'+' => out.push(b' '),
            other => out.push(other),
        }
    }
    let text = String::from_utf8(out).map_err(|_| malformed())?;
    let wanted = encode(&text);
    if reading == Reading::Canonical && wanted != raw.replace('+', "%20") {
        return Err(EncodingError::NotCanonical { raw: raw.to_owned(), wanted });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = "a b*~+/中%";
        assert_eq!(encode(text), "a%20b%2A~%2B%2F%E4%B8%AD%25");
        assert_eq!(decode(&encode(text), Reading::Canonical).unwrap(), text);
    }

    #[test]
    fn a_space_may_be_a_plus_and_nothing_else_may_differ_in_a_signed_query() {
        for reading in [Reading::Form, Reading::Canonical] {
            assert_eq!(parse("a=x+y%2A", reading).unwrap()["a"], "x y*");
        }
        assert_eq!(parse("a=%2a~*", Reading::Form).unwrap()["a"], "*~*");
        for (raw, canonical) in [("%2a", "%2A"), ("*", "%2A"), ("%7E", "~")] {
            assert!(matches!(
                parse(&format!("a={raw}"), Reading::Canonical),
                Err(EncodingError::NotCanonical { wanted, .. }) if wanted == canonical
            ));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for raw in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(matches!(parse(raw, Reading::Form), Err(EncodingError::Malformed(_))), "{raw}");
        }
        assert_eq!(parse("a=1&a=2", Reading::Form), Err(EncodingError::Repeated("a".into())));
    }
}
