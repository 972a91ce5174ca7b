//! Who calls, and whether it is really them: both signatures, checked as strictly as the service could.

use std::time::SystemTime;

use super::{
    encoding::Params,
    error::ApiError,
    request::{Request, Scheme},
    sign,
};
use crate::{
    account::{AccessKey, KeyState},
    world::World,
};

/// Headers that V3 always has to sign.
const V3_SIGNED: [&str; 6] = [
    "host",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-version",
];

/// What a signature is made of, whichever it is.
struct Claim<'a> {
    key_id: &'a str,
    time: &'a str,
    nonce: &'a str,
    token: Option<&'a str>,
    signature: &'a str,
}

/// Checks a call's signature, time, nonce and token, and gives the key it was signed with.
pub(crate) fn authenticate(
    world: &mut World,
    request: &Request,
    now: SystemTime,
) -> Result<AccessKey, ApiError> {
    let v3;
    let claim = match request.scheme {
        Scheme::V3 => {
            v3 = Authorization::parse(request)?;
            v3.claim(request)?
        }
        Scheme::V1 => claim_v1(request)?,
        Scheme::Unsigned => return Err(incomplete("the call is not signed")),
    };
    let key = world.keys.get(claim.key_id).cloned().ok_or_else(|| {
        let message = "Specified access key is not found.";
        ApiError::new(404, "InvalidAccessKeyId.NotFound", message)
    })?;
    if key.state == KeyState::Inactive {
        let message = "Specified access key is disabled.";
        return Err(ApiError::new(403, "InvalidAccessKeyId.Inactive", message));
    }
    check_time(world, claim.time, now)?;
    let (signature, signed) = match request.scheme {
        Scheme::V3 => Authorization::parse(request)?.expected(request, &key.secret),
        _ => expected_v1(request, &key.secret),
    };
    if signature != claim.signature {
        let message = format!(
            "Specified signature is not matched with our calculation. server string to sign is:{signed}"
        );
        return Err(ApiError::new(400, "SignatureDoesNotMatch", message));
    }
    check_token(&key, claim.token, now)?;
    if !world.nonces.is_new(claim.nonce) {
        let message = "Specified signature nonce was used already.";
        return Err(ApiError::new(400, "SignatureNonceUsed", message));
    }
    Ok(key)
}

fn incomplete(why: &str) -> ApiError {
    let message = format!("The request signature does not conform to Aliyun standards: {why}.");
    ApiError::new(400, "IncompleteSignature", message)
}

fn check_time(world: &World, time: &str, now: SystemTime) -> Result<(), ApiError> {
    let plain = time.len() == "2024-01-01T00:00:00Z".len() && time.ends_with('Z');
    let parsed = humantime::parse_rfc3339(time).ok().filter(|_| plain).ok_or_else(|| {
        let message = "Specified time stamp or date value is not well formatted.";
        ApiError::new(400, "InvalidTimeStamp.Format", message)
    })?;
    let apart = now.duration_since(parsed).unwrap_or_else(|error| error.duration());
    if apart > world.settings.clock_tolerance {
        let message = "Specified time stamp or date value is expired.";
        return Err(ApiError::new(400, "InvalidTimeStamp.Expired", message));
    }
    Ok(())
}

fn check_token(key: &AccessKey, token: Option<&str>, now: SystemTime) -> Result<(), ApiError> {
    let is_over = key.state == KeyState::Expired || key.expires.is_some_and(|at| at <= now);
    match (key.token.as_deref(), token) {
        _ if is_over => {
            let message = "Specified SecurityToken is expired.";
            Err(ApiError::new(400, "InvalidSecurityToken.Expired", message))
        }
        (None, None) => Ok(()),
        (Some(_), None) => {
            let message = "SecurityToken is mandatory for this action.";
            Err(ApiError::new(400, "MissingSecurityToken", message))
        }
        (Some(wanted), Some(found)) if wanted == found => Ok(()),
        (Some(_), Some(found)) if found.trim().is_empty() => {
            let message = "Specified SecurityToken is malformed.";
            Err(ApiError::new(400, "InvalidSecurityToken.Malformed", message))
        }
        _ => {
            let message = "Specified SecurityToken mismatch with the AccessKey.";
            Err(ApiError::new(400, "InvalidSecurityToken.MismatchWithAccessKey", message))
        }
    }
}

/// The header `Authorization` of V3.
struct Authorization<'a> {
    credential: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(request: &'a Request) -> Result<Self, ApiError> {
        let header = request.header("authorization").unwrap_or_default();
        let fields = header
            .strip_prefix(sign::V3_ALGORITHM)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| incomplete("the Authorization header has another algorithm"))?;
        let field = |name: &str| {
            let found = fields.split(',').find_map(|field| {
                field.trim_start().strip_prefix(name).and_then(|rest| rest.strip_prefix('='))
            });
            found.ok_or_else(|| incomplete(&format!("no {name} in the Authorization header")))
        };
        let signed = field("SignedHeaders")?.split(';').collect();
        Ok(Self { credential: field("Credential")?, signed, signature: field("Signature")? })
    }

    /// What has to hold whoever signed it.
    fn claim(&self, request: &'a Request) -> Result<Claim<'a>, ApiError> {
        if request.method != hyper::Method::POST || request.path != "/" {
            return Err(incomplete("V3 calls of this API are POST /"));
        }
        if !self.signed.is_sorted() {
            return Err(incomplete("SignedHeaders is not sorted"));
        }
        let must = V3_SIGNED.into_iter().chain(
            request.headers.keys().map(|name| name.as_str()).filter(|n| n.starts_with("x-acs-")),
        );
        for name in must {
            if !self.signed.contains(&name) {
                return Err(incomplete(&format!("the header {name} is not signed")));
            }
        }
        if let Some(name) = self.signed.iter().find(|name| request.header(name).is_none()) {
            return Err(incomplete(&format!("{name} is signed and not there")));
        }
        let header = |name: &str| request.header(name).unwrap_or_default();
        if header("x-acs-content-sha256") != sign::sha256_hex(&request.body) {
            return Err(incomplete("x-acs-content-sha256 is not that of the body"));
        }
        let token = request.header("x-acs-security-token");
        if token.is_some() && header("x-acs-accesskey-id") != self.credential {
            return Err(incomplete(
                "x-acs-accesskey-id must come with a token, and be the Credential",
            ));
        }
        let nonce = request.header("x-acs-signature-nonce").unwrap_or_default();
        if nonce.is_empty() {
            return Err(incomplete("the nonce is empty"));
        }
        Ok(Claim {
            key_id: self.credential,
            time: request.header("x-acs-date").unwrap_or_default(),
            nonce,
            token,
            signature: self.signature,
        })
    }

    /// The signature that the secret gives, and what it was computed over.
    fn expected(&self, request: &Request, secret: &str) -> (String, String) {
        let value = |name: &str| request.header(name).unwrap_or_default().trim().to_owned();
        let headers: Vec<(String, String)> =
            self.signed.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        let canonical = sign::v3_canonical_request(
            request.method.as_str(),
            &request.path,
            &request.query,
            &headers,
            &sign::sha256_hex(&request.body),
        );
        (sign::v3_signature(secret, &canonical), canonical)
    }
}

fn claim_v1(request: &Request) -> Result<Claim<'_>, ApiError> {
    let get = |name: &str| request.params.get(name).map(String::as_str);
    let need =
        |name: &str| get(name).filter(|v| !v.is_empty()).ok_or_else(|| ApiError::missing(name));
    if request.method != hyper::Method::GET && request.method != hyper::Method::POST {
        return Err(incomplete("V1 calls are GET or POST"));
    }
    for (name, wanted) in
        [("SignatureMethod", "HMAC-SHA1"), ("SignatureVersion", "1.0"), ("Format", "JSON")]
    {
        if !need(name)?.eq_ignore_ascii_case(wanted) {
            return Err(ApiError::invalid(name, &format!("this stand-in speaks {wanted} only")));
        }
    }
    Ok(Claim {
        key_id: need("AccessKeyId")?,
        time: need("Timestamp")?,
        nonce: need("SignatureNonce")?,
        token: get("SecurityToken"),
        signature: need("Signature")?,
    })
}

fn expected_v1(request: &Request, secret: &str) -> (String, String) {
    let mut signed: Params = request.params.clone();
    signed.remove("Signature");
    let string = sign::v1_string_to_sign(request.method.as_str(), &signed);
    (sign::v1_signature(secret, &string), string)
}
