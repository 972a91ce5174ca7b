//! The two signatures of the API, as pure functions: time and nonce are arguments.
//!
//! [`v3`] is ACS3-HMAC-SHA256, the default. [`v1`] is HMAC-SHA1, which the vendor calls
//! discontinued and which private-cloud endpoints still use. Both put every parameter into the
//! query and send an empty body, so that what is signed is what stands in the URL, byte for byte.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The HTTP method of every signed call.
pub const METHOD: &str = "POST";

/// The algorithm's name in a V3 `Authorization` header.
const V3_ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Parameters of a call, sorted by the bytes of their names as both signatures require.
pub type Params = BTreeMap<String, String>;

/// Which signature a [`Client`](super::Client) makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureVersion {
    /// ACS3-HMAC-SHA256: parameters in the query, the signature in a header.
    #[default]
    V3,
    /// HMAC-SHA1: everything in the query, for endpoints that support nothing newer.
    V1,
}

/// The key that signs. Without `Debug`, so that it cannot be logged.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// `AccessKeyId`.
    pub id: &'a str,
    /// `AccessKeySecret`.
    pub secret: &'a str,
    /// `SecurityToken` of temporary credentials.
    pub token: Option<&'a str>,
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The `host` header: host, and the port where it is not the scheme's own.
    pub host: &'a str,
    /// The API's name of the call, such as `StartTerminalSession`.
    pub action: &'a str,
    /// The API's version, such as `2014-05-26`.
    pub version: &'a str,
    /// The call's own parameters.
    pub params: &'a Params,
}

/// The time and the nonce of one try of a call.
#[derive(Clone, Copy)]
pub struct Stamp<'a> {
    /// The time of the try; the service refuses one that is 15 minutes off.
    pub time: SystemTime,
    /// Never used before with this key.
    pub nonce: &'a str,
}

/// A signed call, ready to be sent. Without `Debug`: it holds the signature and the token.
pub struct Signed {
    /// The query, encoded: it has to go on the wire exactly so.
    pub query: String,
    /// Headers, lower-case names. `host` is among them.
    pub headers: Vec<(&'static str, String)>,
    /// The signature alone, to be scrubbed from whatever a user may see.
    pub signature: String,
}

/// Signs with ACS3-HMAC-SHA256.
pub fn v3(request: Request<'_>, key: Key<'_>, stamp: Stamp<'_>) -> Signed {
    let mut headers = vec![
        ("host", request.host.to_owned()),
        ("x-acs-action", request.action.to_owned()),
        ("x-acs-content-sha256", HEXLOWER.encode(&Sha256::digest(b""))),
        ("x-acs-date", timestamp(stamp.time)),
        ("x-acs-signature-nonce", stamp.nonce.to_owned()),
        ("x-acs-version", request.version.to_owned()),
    ];
    if let Some(token) = key.token {
        headers.push(("x-acs-accesskey-id", key.id.to_owned()));
        headers.push(("x-acs-security-token", token.to_owned()));
    }
    headers.sort_unstable_by_key(|(name, _)| *name);

    let query = canonical_query(request.params);
    let digest = v3_request_digest(&query, &headers);
    let signature = v3_signature(&digest, key.secret);
    let authorization = format!(
        "{V3_ALGORITHM} Credential={},SignedHeaders={},Signature={signature}",
        key.id,
        names(&headers),
    );
    headers.push(("authorization", authorization));
    Signed { query, headers, signature }
}

/// Signs with HMAC-SHA1.
pub fn v1(request: Request<'_>, key: Key<'_>, stamp: Stamp<'_>) -> Signed {
    let own = [
        ("AccessKeyId", Some(key.id)),
        ("SignatureMethod", Some("HMAC-SHA1")),
        ("SignatureVersion", Some("1.0")),
        ("SecurityToken", key.token),
    ];
    let own =
        own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    let mut params = request.params.clone();
    params.extend(common(request, stamp).into_iter().chain(own));

    let signature = v1_signature(&v1_string_to_sign(METHOD, &params), key.secret);
    params.insert("Signature".to_owned(), signature.clone());
    Signed {
        query: canonical_query(&params),
        headers: vec![("host", request.host.to_owned())],
        signature,
    }
}

/// The query of a call that is not signed; its own parameters are sent as a form.
pub fn unsigned(request: Request<'_>, stamp: Stamp<'_>) -> Signed {
    Signed {
        query: canonical_query(&common(request, stamp)),
        headers: vec![("host", request.host.to_owned())],
        signature: String::new(),
    }
}

/// What the query of each call has that is not signed by V3.
fn common(request: Request<'_>, stamp: Stamp<'_>) -> Params {
    Params::from([
        ("Action".to_owned(), request.action.to_owned()),
        ("Format".to_owned(), "JSON".to_owned()),
        ("SignatureNonce".to_owned(), stamp.nonce.to_owned()),
        ("Timestamp".to_owned(), timestamp(stamp.time)),
        ("Version".to_owned(), request.version.to_owned()),
    ])
}

/// Percent-encodes as RFC 3986 has it: all but `A-Z a-z 0-9 - _ . ~`, a space as `%20`.
pub fn encode(text: &str) -> String {
    const RESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The parameters as a query or as the body of a form: sorted, both sides encoded.
pub fn canonical_query(params: &Params) -> String {
    let pairs: Vec<_> =
        params.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

/// The SHA-256 of V3's canonical request, in hex. `headers` are sorted, all of them signed.
fn v3_request_digest(query: &str, headers: &[(&'static str, String)]) -> String {
    let line = |(name, value): &(&str, String)| format!("{name}:{}\n", value.trim());
    let lines: String = headers.iter().map(line).collect();
    let body = headers.iter().find(|(name, _)| *name == "x-acs-content-sha256");
    let body = body.map_or("", |(_, digest)| digest);
    let canonical = format!("{METHOD}\n/\n{query}\n{lines}\n{}\n{body}", names(headers));
    HEXLOWER.encode(&Sha256::digest(canonical.as_bytes()))
}

fn names(headers: &[(&'static str, String)]) -> String {
    headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
}

/// V3's signature over the digest of the canonical request.
fn v3_signature(request_digest: &str, secret: &str) -> String {
    let text = format!("{V3_ALGORITHM}\n{request_digest}");
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// V1's string to sign, over the parameters of query and form together.
fn v1_string_to_sign(method: &str, params: &Params) -> String {
    format!("{method}&%2F&{}", encode(&canonical_query(params)))
}

/// V1's signature over its string to sign.
fn v1_signature(string_to_sign: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(string_to_sign.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

/// `YYYY-MM-DDTHH:MM:SSZ`, in UTC.
fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Value {
        let text = include_str!("../../tests/data/signing.json");
        serde_json::from_str(text).unwrap()
    }

    fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
        vector[name].as_str().unwrap_or_else(|| panic!("{name} is text"))
    }

    fn params(value: &Value) -> Params {
        let map = value.as_object().unwrap();
        map.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
    }

    fn time(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn every_v1_vector() {
        let vectors = vectors();
        let vectors = vectors["v1_hmac_sha1"].as_array().unwrap();
        assert!(!vectors.is_empty());
        for vector in vectors {
            let mut all = params(&vector["query"]);
            all.extend(params(&vector["form"]));
            let string_to_sign = v1_string_to_sign(text(vector, "method"), &all);
            assert_eq!(string_to_sign, text(vector, "string_to_sign"), "{}", vector["name"]);
            let signature = v1_signature(&string_to_sign, text(vector, "secret"));
            assert_eq!(signature, text(vector, "signature"), "{}", vector["name"]);
        }
    }

    #[test]
    fn every_v3_vector() {
        let vectors = vectors();
        let vectors = vectors["v3_acs3_hmac_sha256"].as_array().unwrap();
        assert!(!vectors.is_empty());
        for vector in vectors {
            let name = text(vector, "name");
            let headers = &vector["headers"];
            let token = headers.get("x-acs-security-token").map(|t| t.as_str().unwrap());
            let query = params(&vector["query"]);
            let request = Request {
                host: text(headers, "host"),
                action: text(headers, "x-acs-action"),
                version: text(headers, "x-acs-version"),
                params: &query,
            };
            let key =
                Key { id: text(vector, "access_key_id"), secret: text(vector, "secret"), token };
            let stamp = Stamp {
                time: time(text(headers, "x-acs-date")),
                nonce: text(headers, "x-acs-signature-nonce"),
            };
            let mut signed = v3(request, key, stamp);

            assert_eq!(signed.query, text(vector, "canonical_query"), "{name}");
            assert_eq!(signed.signature, text(vector, "signature"), "{name}");
            let (header, authorization) = signed.headers.pop().unwrap();
            assert_eq!(header, "authorization");
            assert_eq!(
                authorization,
                format!(
                    "ACS3-HMAC-SHA256 Credential={},SignedHeaders={},Signature={}",
                    key.id,
                    text(vector, "signed_headers"),
                    text(vector, "signature")
                )
            );
            let digest = v3_request_digest(&signed.query, &signed.headers);
            assert_eq!(digest, text(vector, "canonical_request_sha256"), "{name}");
            assert_eq!(signed.headers.len(), headers.as_object().unwrap().len(), "{name}");
            for (header, value) in signed.headers {
                assert_eq!(value, text(headers, header), "{name}: {header}");
            }
        }
    }

    #[test]
    fn a_v1_call_carries_its_common_parameters() {
        let own = Params::from([("RegionId".to_owned(), "cn-beijing".to_owned())]);
        let request =
            Request { host: "h", action: "DescribeRegions", version: "2014-05-26", params: &own };
        let key = Key { id: "id", secret: "secret", token: Some("tok+/=") };
        let stamp = Stamp { time: time("2024-01-01T00:00:00Z"), nonce: "n1" };
        let signed = v1(request, key, stamp);
        let unsigned: Vec<_> =
            signed.query.split('&').filter(|p| !p.starts_with("Signature=")).collect();
        assert_eq!(
            unsigned.join("&"),
            "AccessKeyId=id&Action=DescribeRegions&Format=JSON&RegionId=cn-beijing\
             &SecurityToken=tok%2B%2F%3D&SignatureMethod=HMAC-SHA1&SignatureNonce=n1\
             &SignatureVersion=1.0&Timestamp=2024-01-01T00%3A00%3A00Z&Version=2014-05-26"
        );
        let expected = v1_signature(&format!("POST&%2F&{}", encode(&unsigned.join("&"))), "secret");
        assert_eq!(signed.signature, expected);
        assert!(signed.query.contains(&format!("Signature={}", encode(&expected))));
    }

    #[test]
    fn encoding_leaves_only_the_unreserved() {
        assert_eq!(encode("aZ09-_.~"), "aZ09-_.~");
        assert_eq!(encode(" *+/%&=中\n"), "%20%2A%2B%2F%25%26%3D%E4%B8%AD%0A");
    }
}
