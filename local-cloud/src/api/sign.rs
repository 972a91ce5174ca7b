//! Both signatures of the OpenAPI, as the server computes them again from what it was sent.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::encoding::{Params, canonical_query, encode};

/// The only algorithm of V3 that is understood here.
pub(crate) const V3_ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Lower-case hex SHA-256.
pub(crate) fn sha256_hex(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// V1: what is signed.
pub(crate) fn v1_string_to_sign(method: &str, params: &Params) -> String {
    format!("{method}&%2F&{}", encode(&canonical_query(params)))
}

/// V1: its signature, in base64.
pub(crate) fn v1_signature(secret: &str, string_to_sign: &str) -> String {
    let key = format!("{secret}&");
    // An HMAC takes a key of any length: the error cannot happen, and an empty signature fits nothing.
    Hmac::<Sha1>::new_from_slice(key.as_bytes())
        .map(|mut mac| {
            mac.update(string_to_sign.as_bytes());
            BASE64.encode(mac.finalize().into_bytes())
        })
        .unwrap_or_default()
}

/// V3: the canonical request. `headers` are the signed ones, lower-case and sorted by name.
pub(crate) fn v3_canonical_request(
    method: &str,
    path: &str,
    query: &Params,
    headers: &[(String, String)],
    body_sha256: &str,
) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let query = canonical_query(query);
    format!("{method}\n{path}\n{query}\n{lines}\n{}\n{body_sha256}", names.join(";"))
}

/// V3: its signature, in hex.
pub(crate) fn v3_signature(secret: &str, canonical_request: &str) -> String {
    let string_to_sign = format!("{V3_ALGORITHM}\n{}", sha256_hex(canonical_request.as_bytes()));
    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mut mac| {
            mac.update(string_to_sign.as_bytes());
            hex(&mac.finalize().into_bytes())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/data/signing.json")).unwrap()
    }

    fn map(value: &Value) -> Params {
        let pairs = value.as_object().unwrap().iter();
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn every_v1_vector() {
        let all = vectors();
        let vectors = all["v1_hmac_sha1"].as_array().unwrap();
        assert_eq!(vectors.len(), 4);
        for vector in vectors {
            let mut params = map(&vector["query"]);
            params.extend(map(&vector["form"]));
            let string = v1_string_to_sign(vector["method"].as_str().unwrap(), &params);
            assert_eq!(string, vector["string_to_sign"], "{}", vector["name"]);
            let signature = v1_signature(vector["secret"].as_str().unwrap(), &string);
            assert_eq!(signature, vector["signature"], "{}", vector["name"]);
        }
    }

    #[test]
    fn every_v3_vector() {
        let all = vectors();
        let vectors = all["v3_acs3_hmac_sha256"].as_array().unwrap();
        assert_eq!(vectors.len(), 2);
        for vector in vectors {
            let query = map(&vector["query"]);
            assert_eq!(canonical_query(&query), vector["canonical_query"]);
            let headers: Vec<_> = map(&vector["headers"]).into_iter().collect();
            let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names.join(";"), vector["signed_headers"]);
            let request = v3_canonical_request("POST", "/", &query, &headers, &sha256_hex(b""));
            assert_eq!(sha256_hex(request.as_bytes()), vector["canonical_request_sha256"]);
            let signature = v3_signature(vector["secret"].as_str().unwrap(), &request);
            assert_eq!(signature, vector["signature"], "{}", vector["name"]);
        }
    }
}
