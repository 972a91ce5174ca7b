//! What may go wrong with the metadata service and the credentials URI, on command.

use std::time::Duration;

use crate::fault::use_up;

/// What is asked of the metadata service, and the credentials URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourcePart {
    /// The credentials URI.
    Uri,
    /// A token of the metadata service.
    MetadataToken,
    /// The role that is attached to the instance.
    MetadataRole,
    /// The keys of a role.
    MetadataKeys,
    /// CloudSSO's keys for an access token.
    CloudSso,
    /// An OAuth access token for a refresh token.
    OAuthToken,
    /// OAuth's keys for an access token.
    OAuthExchange,
}

/// Something that goes wrong with the metadata service or the credentials URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFault {
    pub(crate) part: Option<SourcePart>,
    pub(crate) times: Option<u32>,
    pub(crate) delay: Option<Duration>,
    pub(crate) effect: SourceEffect,
}

/// The part of a fault that replaces the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceEffect {
    None,
    Raw { status: u16, content_type: String, body: String },
    Redirect { status: u16, location: String },
    Silent,
    Cut,
    CutMidway,
}

impl SourceFault {
    fn new(part: Option<SourcePart>) -> Self {
        Self { part, times: None, delay: None, effect: SourceEffect::None }
    }

    /// Strikes questions of this kind.
    #[must_use]
    pub fn on(part: SourcePart) -> Self {
        Self::new(Some(part))
    }

    /// Strikes every question.
    #[must_use]
    pub fn on_any() -> Self {
        Self::new(None)
    }

    /// Strikes so many questions, and then no more.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// The answer comes so much later.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Any answer, such as a page of HTML.
    #[must_use]
    pub fn raw(
        mut self,
        status: u16,
        content_type: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        let (content_type, body) = (content_type.into(), body.into());
        self.effect = SourceEffect::Raw { status, content_type, body };
        self
    }

    /// An answer with so many bytes of JSON that do not end.
    #[must_use]
    pub fn huge(self, bytes: usize) -> Self {
        let body = format!("{{\"AccessKeyId\": \"{}", "x".repeat(bytes));
        self.raw(200, "application/json", body)
    }

    /// An answer that leads elsewhere.
    #[must_use]
    pub fn redirect(mut self, status: u16, location: impl Into<String>) -> Self {
        self.effect = SourceEffect::Redirect { status, location: location.into() };
        self
    }

    /// Taken, and never answered.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.effect = SourceEffect::Silent;
        self
    }

    /// The connection ends before the first byte of the answer.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.effect = SourceEffect::Cut;
        self
    }

    /// The connection ends in the middle of the answer.
    #[must_use]
    pub fn cut_midway(mut self) -> Self {
        self.effect = SourceEffect::CutMidway;
        self
    }
}

/// Takes one use of the first fault that fits, and forgets those that are used up.
pub(crate) fn take(faults: &mut Vec<SourceFault>, part: SourcePart) -> Option<SourceFault> {
    let index = faults.iter().position(|fault| fault.part.is_none_or(|wanted| wanted == part))?;
    let fault = faults[index].clone();
    if !use_up(&mut faults[index].times) {
        faults.remove(index);
    }
    Some(fault)
}
