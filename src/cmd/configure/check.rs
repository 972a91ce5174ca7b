//! One harmless call, and what it says of the credentials.

use std::path::Path;

use super::super::Cloud;
use crate::cli::Global;
use crate::cloud::Verdict;
use crate::explain::{ExitCode, Explain};

/// What came of it.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// In one line, if there is no failure to be told.
    pub(super) said: String,
    pub(super) failure: Option<Box<dyn Explain>>,
}

/// Tries a profile of a file.
pub(super) async fn check(global: &Global, name: &str, file: &Path) -> Finding {
    let global =
        Global { profile: Some(name.to_owned()), config: Some(file.to_owned()), ..global.clone() };
    let cloud = match Cloud::open(&global) {
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
                Verdict::GoodBut => "the credentials are good, but:".to_owned(),
                _ => String::new(),
            };
            Finding { verdict, said, failure: Some(Box::new(error)) }
        }
    }
}

/// A failure of a file under another name, told as of the file that is meant.
#[derive(Debug)]
pub(super) struct Renamed {
    error: Box<dyn Explain>,
    from: String,
    to: String,
}

impl Renamed {
    pub(super) fn new(error: Box<dyn Explain>, from: &Path, to: &Path) -> Self {
        Self { error, from: from.display().to_string(), to: to.display().to_string() }
    }

    fn told(&self, text: &str) -> String {
        text.replace(&self.from, &self.to)
    }
}

impl std::fmt::Display for Renamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.told(&self.error.to_string()))
    }
}

impl std::error::Error for Renamed {}

impl Explain for Renamed {
    fn why(&self) -> Option<String> {
        self.error.why().map(|why| self.told(&why))
    }

    fn remedy(&self) -> Option<String> {
        self.error.remedy().map(|remedy| self.told(&remedy))
    }

    fn request_id(&self) -> Option<&str> {
        self.error.request_id()
    }

    fn exit_code(&self) -> ExitCode {
        self.error.exit_code()
    }
}
