//! One read-only call that tests the credentials.

use crate::app::Cloud;
use crate::cli::Global;
use crate::cloud::Verdict;
use crate::credentials::{Error, Resolved};
use crate::explain::Explain;

/// The result of the test.
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    /// In one line, if there is no failure.
    pub(crate) said: String,
    pub(crate) failure: Option<Box<dyn Explain>>,
}

/// Tests the credentials of a profile.
pub(crate) async fn check(
    global: &Global,
    resolve: impl FnOnce() -> Result<Resolved, Error>,
) -> Finding {
    let cloud = match Cloud::of(global, resolve) {
        Ok(cloud) => cloud,
        Err(failure) => {
            let (verdict, failure) = (Verdict::Refused, Some(failure));
            return Finding { verdict, said: String::new(), failure };
        }
    };
    let region = cloud.client.config().region.clone();
    match cloud.client.probe().await {
        Ok(()) => Finding {
            verdict: Verdict::Good,
            said: format!("the credentials are good (DescribeInstanceStatus in {region})"),
            failure: None,
        },
        Err(error) => {
            let verdict = error.verdict();
            let said = match verdict {
                Verdict::ValidButDenied => "the credentials are good, but:".to_owned(),
                _ => String::new(),
            };
            Finding { verdict, said, failure: Some(Box::new(error)) }
        }
    }
}
