//! Credentials and signed calls for Alibaba Cloud.
//!
//! ```text
//! credentials (profiles, variables, metadata, programs)     ecs, sts (typed calls)
//!            │ ProvideCredentials                                │
//!            └────────────────▶ openapi: sign, send, retry ◀─────┘
//!                                         │ Transport
//!                                         ▼
//!                          reqwest::Client, or the program's own
//! ```
//!
//! - [`openapi`]: [`openapi::Client`] signs a call (ACS3-HMAC-SHA256 or the older HMAC-SHA1), sends it within
//!   a time, and sends it again where that may help and does no harm.
//! - [`ecs`]: the calls of ECS and Cloud Assistant. [`sts`]: those of STS. [`endpoint`]: where they go.
//! - [`credentials`]: [`credentials::ProvideCredentials`], and [`credentials::Provider`], which finds
//!   credentials in the vendor's order and renews them.
//! - [`transport`]: what sends a request; [`reqwest::Client`] is one.
//!
//! **Errors** carry data and no advice: which call failed, the code of the service, its `RequestId`, the two
//! clocks, the source of the credentials. `Display` says what happened. No error, `Debug` or log line holds a
//! secret, a token, a signature or the URL of a session.
//!
//! **The caller's words** are the caller's: what gives a value comes with it ([`credentials::Setting`]), and
//! [`credentials::Host`] names variables beside the vendor's.
//!
//! **Units**: every time is a [`std::time::Duration`] or [`std::time::SystemTime`]; sizes are bytes.
//!
//! **Facts** are those of the vendor's public documents: the OpenAPI reference of ECS 2014-05-26 and STS
//! 2015-04-01, "Request syntax and signature method V3", and the credential chain of the Alibaba Cloud SDKs and
//! CLI.
//!
//! # Example
//!
//! Credentials of one's own, and a signed call, here against a server on this machine:
//!
//! ```
//! use std::io::{Read as _, Write as _};
//! use std::sync::Arc;
//!
//! use aliyun_client::credentials::{Credentials, Providing, ProvideCredentials, Source};
//! use aliyun_client::endpoint::{Endpoint, Region};
//! use aliyun_client::openapi::{Client, Config};
//!
//! #[derive(Debug)]
//! struct Vault(Source);
//!
//! impl ProvideCredentials for Vault {
//!     fn source(&self) -> &Source {
//!         &self.0
//!     }
//!
//!     fn provide(&self) -> Providing<'_, Credentials> {
//!         Box::pin(async { Ok(Credentials::new("LTAI-example", "secret", None, self.0.clone())?) })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let endpoint = Endpoint::parse(&format!("http://{}", server.local_addr()?))?;
//! let served = std::thread::spawn(move || -> std::io::Result<String> {
//!     let (mut stream, _) = server.accept()?;
//!     let mut head = vec![0; 4096];
//!     let count = stream.read(&mut head)?;
//!     let body = r#"{"InstanceStatuses":{"InstanceStatus":[]},"RequestId":"R-1"}"#;
//!     write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
//!     Ok(String::from_utf8_lossy(&head[..count]).into_owned())
//! });
//!
//! let vault = Arc::new(Vault(Source::Custom { name: "the vault".into() }));
//! let region = Region::parse("cn-hangzhou")?;
//! // A program that calls an https:// endpoint gives its client a TLS configuration.
//! let http = aliyun_client::transport::plain_client()?;
//! let client = Client::new(Config::new(endpoint, region, vault, Arc::new(http)))?;
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! runtime.block_on(client.probe())?;
//!
//! let request = served.join().expect("the server has not panicked")?;
//! assert!(request.contains("x-acs-action: DescribeInstanceStatus"));
//! assert!(request.contains("authorization: ACS3-HMAC-SHA256 Credential=LTAI-example,"));
//! # Ok(())
//! # }
//! ```

pub mod cause;
pub mod computenest;
pub mod credentials;
pub mod ecs;
pub mod endpoint;
pub mod openapi;
pub mod regions;
pub mod scrub;
pub mod sts;
pub mod text;
pub mod transport;

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn no_program_and_none_of_its_options_and_variables_are_named() {
        let names = |line: &str| {
            let mut options =
                line.match_indices("--").map(|(at, dashes)| &line[at + dashes.len()..]);
            options.any(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                || line.to_lowercase().replace('_', "-").contains("ecs-bridge")
        };
        assert!(names("give --region") && names("ECS_BRIDGE_REGION") && !names("-----BEGIN"));

        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.to_string_lossy().ends_with("_tests.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let product = text.split("\nmod tests {").next().unwrap();
                    let named = product.lines().find(|line| names(line));
                    assert_eq!(named, None, "{}", path.display());
                    count += 1;
                }
            }
        }
        assert!(count > 40, "only {count} files");
    }
}
