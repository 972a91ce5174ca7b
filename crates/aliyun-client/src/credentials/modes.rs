//! From a profile to the source of its credentials: what each mode needs, checked before anything is sent.

use std::path::PathBuf;
use std::time::SystemTime;

use super::cached::CachedCredentials;
use super::credential_source::{CredentialSource, SourceKind};
use super::env::{EXTERNAL_DISABLED, Environment, IMDSV1_DISABLED};
use super::error::Error;
use super::external::{self, INHERITED, Program};
use super::fetch::Address;
use super::fields;
use super::keys::Credentials;
use super::login::{self, Login, Service};
use super::metadata::{self, Metadata, is_role};
use super::mode::{Mode, mode_of};
use super::oidc::Oidc;
use super::profile::{Profile, ProfileFile};
use super::query::{Query, Setting, in_home};
use super::role::{Role, USUAL_SECONDS};
use super::source::Source;
use crate::endpoint::{Endpoint, EndpointType, Region, is_loopback};
use crate::sts::AssumeRole;

/// What a profile is read with.
pub(super) struct Reader<'a> {
    pub(super) files: &'a [ProfileFile],
    pub(super) env: &'a Environment<'a>,
    pub(super) now: SystemTime,
    pub(super) home: Option<PathBuf>,
    /// The region that a flag or a variable names.
    pub(super) region: Option<String>,
}

/// A profile and what it is called.
struct Subject<'a> {
    file: &'a ProfileFile,
    profile: &'a Profile,
    source: Source,
}

impl<'a> Subject<'a> {
    fn new(file: &'a ProfileFile, profile: &'a Profile) -> Self {
        let written = mode_of(|field| profile.text(field));
        let mode = Mode::parse(&written).map_or(written, |(_, name)| name.to_owned());
        let (name, path) = (profile.name.clone(), file.path.clone());
        let source = match file.is_ini {
            true => Source::Section { name, file: path, mode: mode.into() },
            false => Source::Profile { name, file: path, mode },
        };
        Self { file, profile, source }
    }

    /// What a program of mode External has printed for a profile.
    fn of_answer(file: &'a ProfileFile, profile: &'a Profile, of: &Source) -> Self {
        let written = mode_of(|field| profile.text(field));
        let mode = match Mode::parse(&written) {
            Some((_, name)) => name.into(),
            None => written.chars().take(40).collect(),
        };
        Self { file, profile, source: Source::Answer { of: Box::new(of.clone()), mode } }
    }

    fn is_answer(&self) -> bool {
        matches!(self.source, Source::Answer { .. })
    }

    fn need(&self, field: &'static str) -> Result<String, Error> {
        let missing = || Error::MissingField { origin: self.source.clone(), field };
        self.profile.text(field).ok_or_else(missing)
    }

    fn bad(&self, field: &'static str, problem: impl Into<String>) -> Error {
        Error::BadField { origin: self.source.clone(), field, problem: problem.into() }
    }
}

/// What a profile comes to.
enum Reading {
    CredentialSource(CredentialSource),
    /// A role for the credentials of the profile of this name.
    RoleFrom(Role, String),
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        query: &Query<'_>,
        env: &'a Environment<'a>,
        files: &'a [ProfileFile],
        region: Option<&Setting>,
    ) -> Self {
        let region = region.map(|region| region.value.clone());
        Self { files, env, now: query.now, home: query.home.clone(), region }
    }

    /// The source of a profile's credentials, with the profiles that it takes its keys from.
    pub(super) fn profile(
        &self,
        file: &'a ProfileFile,
        profile: &'a Profile,
    ) -> Result<CredentialSource, Error> {
        self.subject(Subject::new(file, profile))
    }

    /// The source of the credentials of a profile that a program of mode External has printed.
    pub(super) fn answer(
        &self,
        file: &'a ProfileFile,
        profile: &'a Profile,
        of: &Source,
    ) -> Result<CredentialSource, Error> {
        self.subject(Subject::of_answer(file, profile, of))
    }

    fn subject(&self, mut subject: Subject<'a>) -> Result<CredentialSource, Error> {
        let is_answer = subject.is_answer();
        // The one that was asked for stands first.
        let mut steps: Vec<(Role, Source)> = Vec::new();
        let mut names = Vec::new();
        loop {
            let read = self.read(&subject, is_answer);
            let (role, from) =
                match read.map_err(|error| in_source_chain(error, &steps, &subject))? {
                    Reading::RoleFrom(role, from) => (role, from),
                    Reading::CredentialSource(mut credential_source) => {
                        for (role, source) in steps.into_iter().rev() {
                            credential_source = credential_source.exchanged(role, source);
                        }
                        return Ok(credential_source);
                    }
                };
            names.push(subject.profile.name.clone());
            if let Some(start) = names.iter().position(|before| *before == from) {
                let path = names.split_off(start).into_iter().chain([from]).collect();
                return Err(Error::Cycle { origin: subject.source, path });
            }
            let next = self.source_profile(&subject, &from);
            let next = next.map_err(|error| in_source_chain(error, &steps, &subject))?;
            steps.push((role, subject.source));
            subject = next;
        }
    }

    /// What keeps a profile from being used beside its credentials: its region and endpoint.
    pub(super) fn place(&self, file: &ProfileFile, profile: &Profile) -> Result<(), Error> {
        let subject = Subject::new(file, profile);
        if self.region.is_none() {
            subject.need("region_id")?;
        }
        for field in ["region_id", "endpoint", "endpoint_type"] {
            if let Some(text) = profile.text(field) {
                fields::check(field, &text).map_err(|problem| subject.bad(field, problem))?;
            }
        }
        Ok(())
    }

    /// Reads one profile; `in_answer` where a program has printed it, or one that leads to it.
    fn read(&self, subject: &Subject<'_>, in_answer: bool) -> Result<Reading, Error> {
        let Subject { profile, source, .. } = subject;
        let Some((mode, _)) = Mode::parse(source.mode()) else {
            return Err(Error::UnsupportedMode { origin: source.clone() });
        };
        let source = || source.clone();
        Ok(Reading::CredentialSource(match mode {
            Mode::Ak => CredentialSource::fixed(self.keys(subject, false)?),
            Mode::StsToken => CredentialSource::fixed(self.keys(subject, true)?),
            Mode::CloudSso | Mode::OAuth => match self.login(subject, mode)? {
                Some(login) => CredentialSource::new(source(), SourceKind::Login(login)),
                None => CredentialSource::fixed(self.keys(subject, true)?),
            },
            Mode::CredentialsUri => {
                let address = self.address(&subject.need("credentials_uri")?, &source())?;
                CredentialSource::new(source(), SourceKind::Uri(address))
            }
            Mode::EcsRamRole => self.metadata(profile.text("ram_role_name"), source())?,
            Mode::RamRoleArn => {
                // The keys may be temporary ones themselves.
                let is_temporary = profile.text("sts_token").is_some();
                let base = CredentialSource::fixed(self.keys(subject, is_temporary)?);
                base.exchanged(self.role(subject)?, source())
            }
            Mode::RamRoleArnWithRoleName => {
                let role = self.role(subject)?;
                let base = self.metadata(profile.text("ram_role_name"), source())?;
                base.exchanged(role, source())
            }
            Mode::ChainableRamRoleArn => {
                let from = subject.need("source_profile")?;
                return Ok(Reading::RoleFrom(self.role(subject)?, from));
            }
            Mode::Oidc => {
                let oidc = Oidc {
                    provider_arn: subject.need("oidc_provider_arn")?,
                    token_file: self.path(&subject.need("oidc_token_file")?),
                    role: self.role(subject)?,
                };
                CredentialSource::new(source(), SourceKind::Oidc(oidc))
            }
            Mode::External if in_answer => {
                return Err(Error::ProgramInAnswer { origin: source() });
            }
            Mode::External => {
                let command = subject.need("process_command")?;
                if let Some(variable) = self.env.is_on(EXTERNAL_DISABLED)? {
                    return Err(Error::ProgramForbidden { origin: source(), variable });
                }
                let checked = external::words(&command);
                checked.map_err(|problem| subject.bad("process_command", problem.to_string()))?;
                let program = Box::new(self.program(command, subject.file, profile));
                CredentialSource::new(source(), SourceKind::External(program))
            }
        }))
    }

    /// The program of a profile.
    pub(super) fn program(
        &self,
        command: String,
        file: &ProfileFile,
        profile: &Profile,
    ) -> Program {
        let own = [file].into_iter();
        let others = self.files.iter().filter(|other| !other.is_ini && other.path != file.path);
        let inherited = INHERITED.iter();
        Program {
            command: command.into(),
            name: profile.name.clone(),
            files: own.chain(others).map(|file| file.path.clone()).collect(),
            variables: self.env.variables(),
            home: self.home.clone(),
            region: self.region.clone(),
            inherited: inherited.filter_map(|name| Some((*name, profile.text(name)?))).collect(),
        }
    }

    /// Keys that stand in the profile.
    fn keys(&self, subject: &Subject<'_>, is_temporary: bool) -> Result<CachedCredentials, Error> {
        let id = subject.need("access_key_id")?;
        let secret = subject.need("access_key_secret")?;
        let token = if is_temporary { Some(subject.need("sts_token")?) } else { None };
        let until = subject.profile.expiration().filter(|_| is_temporary);
        let source = subject.source.clone();
        if let Some(at) = until.filter(|at| *at <= self.now) {
            let (origin, field) = (Box::new(source), "sts_expiration");
            return Err(Error::Expired { origin, field, at, now: self.now });
        }
        let credentials = Credentials::new(&id, &secret, token.as_deref(), source)?;
        Ok(CachedCredentials::fixed(credentials, until))
    }

    /// The login that new keys are got with, while it is valid.
    fn login(&self, subject: &Subject<'_>, mode: Mode) -> Result<Option<Login>, Error> {
        let profile = subject.profile;
        let is_cloud_sso = mode == Mode::CloudSso;
        let tokens = if is_cloud_sso { &login::CLOUD_SSO } else { &login::OAUTH };
        // There is no file of it that new tokens could be written to.
        if subject.is_answer() || !tokens.are_valid(profile, self.now) {
            return Ok(None);
        }
        let (base, service) = if is_cloud_sso {
            let field = "cloud_sso_sign_in_url";
            let needed = [field, "cloud_sso_account_id", "cloud_sso_access_config"];
            let needed = needed.map(|field| profile.text(field));
            // Another program may have dropped one of them: the keys work to their end.
            let [Some(url), Some(account), Some(access_config)] = needed else { return Ok(None) };
            let base =
                Address::parse(&url).map_err(|problem| subject.bad(field, problem))?.origin();
            if !base.uses_tls() && !is_loopback(base.host()) {
                return Err(subject.bad(field, "it does not begin with https://"));
            }
            (base, Service::CloudSso { account, access_config })
        } else {
            let site = profile.text("oauth_site_type");
            let is_international = site
                .is_some_and(|site| ["INTL", "EN"].iter().any(|s| site.eq_ignore_ascii_case(s)));
            let (url, client_id) = if is_international {
                ("https://oauth.alibabacloud.com", "4103531455503354461")
            } else {
                ("https://oauth.aliyun.com", "4038181954557748008")
            };
            let is_local = |base: &Address| is_loopback(base.host());
            let refused = "it does not begin with https://";
            let variable = self.env.host.variables().oauth_url;
            (self.base(variable, url, is_local, refused)?, Service::OAuth { client_id })
        };
        let (file, name) = (subject.file.path.clone(), profile.name.clone());
        Ok(Some(Login::new(service, tokens, base, file, name)))
    }

    fn source_profile(&self, subject: &Subject<'a>, from: &str) -> Result<Subject<'a>, Error> {
        // The same file's first: both are the user's own, and so is any other.
        let files = [subject.file].into_iter().chain(self.files);
        let mut found =
            files.filter_map(|file| file.get(from).map(|base| Subject::new(file, base)));
        found.next().ok_or_else(|| Error::UnknownSourceProfile {
            origin: subject.source.clone(),
            name: from.to_owned(),
            names: subject.file.names().into(),
        })
    }

    fn role(&self, subject: &Subject<'_>) -> Result<Role, Error> {
        let text = |field| subject.profile.text(field);
        let seconds = match text("expired_seconds") {
            None => USUAL_SECONDS,
            Some(seconds) => match seconds.parse::<f64>() {
                Ok(0.0) => USUAL_SECONDS,
                Ok(seconds) if (1.0..=1e9).contains(&seconds) => seconds as u64,
                _ => return Err(subject.bad("expired_seconds", "it is not a number of seconds")),
            },
        };
        let session_name = match text("ram_session_name") {
            Some(name) => name,
            None => self.session_name()?,
        };
        let external_id = match text("external_id") {
            Some(id) => Some(id),
            None => self.env.find_text("EXTERNAL_ID")?.map(|(_, id)| id),
        };
        let request = AssumeRole {
            role_arn: subject.need("ram_role_arn")?,
            session_name,
            seconds,
            external_id,
            policy: text("policy").filter(|_| subject.file.is_ini),
        };
        Ok(Role { request, sts: self.sts(subject)? })
    }

    /// The name of a role's session where the profile has none.
    fn session_name(&self) -> Result<String, Error> {
        let found = self.env.find_text("ROLE_SESSION_NAME")?;
        Ok(found.map_or_else(|| self.env.host.session_name().to_owned(), |(_, name)| name))
    }

    fn sts(&self, subject: &Subject<'_>) -> Result<Endpoint, Error> {
        let text = |field| subject.profile.text(field);
        let is_vpc = text("endpoint_type").is_some_and(|kind| kind.eq_ignore_ascii_case("vpc"));
        let (field, region) = match (text("sts_region"), self.env.find_text("STS_REGION")?) {
            (Some(region), _) => ("sts_region", Some(region)),
            (None, Some((variable, region))) => {
                let bad = |problem| Error::BadVariable { variable: variable.clone(), problem };
                return self.sts_of(Some(&region), is_vpc, bad);
            }
            (None, None) => ("region_id", self.region.clone().or_else(|| text("region_id"))),
        };
        self.sts_of(region.as_deref(), is_vpc, |problem| subject.bad(field, problem))
    }

    /// Where STS is, for a region if one is known.
    fn sts_of(
        &self,
        region: Option<&str>,
        is_vpc: bool,
        bad_region: impl Fn(String) -> Error,
    ) -> Result<Endpoint, Error> {
        let own = self.env.own(self.env.host.variables().sts_endpoint)?;
        if let Some((variable, endpoint)) = own {
            let bad = |problem| Error::BadEndpoint { variable, problem };
            return Endpoint::parse(&endpoint).map_err(bad);
        }
        let region = region.map(Region::parse).transpose();
        let region = region.map_err(|problem| bad_region(problem.to_string()))?;
        let is_vpc = is_vpc || self.env.is_on("VPC_ENDPOINT_ENABLED")?.is_some();
        let kind = if is_vpc { EndpointType::Vpc } else { EndpointType::Internet };
        Ok(Endpoint::of_sts(region.as_ref(), kind))
    }

    /// A role that a token is exchanged for, as the environment has it.
    pub(super) fn oidc(
        &self,
        [role_arn, provider_arn, token_file]: [(String, String); 3],
    ) -> Result<CredentialSource, Error> {
        let session = self.env.find_text("ROLE_SESSION_NAME")?;
        let names = [&role_arn, &provider_arn, &token_file].into_iter().chain(&session);
        let names = names.map(|(name, _)| name.clone()).collect();
        let source = Source::Variables { mode: "OIDC", names };
        let sts_region = self.env.find_text("STS_REGION")?;
        let bad = |problem| match &sts_region {
            Some((variable, _)) => Error::BadVariable { variable: variable.clone(), problem },
            None => Error::BadField { origin: source.clone(), field: "region", problem },
        };
        let region = sts_region.as_ref().map(|(_, region)| region).or(self.region.as_ref());
        let request = AssumeRole {
            role_arn: role_arn.1,
            session_name: self.session_name()?,
            seconds: USUAL_SECONDS,
            external_id: None,
            policy: None,
        };
        let sts = self.sts_of(region.map(String::as_str), false, bad)?;
        let role = Role { request, sts };
        let token_file = self.path(&token_file.1);
        let oidc = Oidc { role, provider_arn: provider_arn.1, token_file };
        Ok(CredentialSource::new(source, SourceKind::Oidc(oidc)))
    }

    /// The metadata service, to get the keys of a role or of the one that is attached.
    pub(super) fn metadata(
        &self,
        role: Option<String>,
        source: Source,
    ) -> Result<CredentialSource, Error> {
        if role.as_deref().is_some_and(|role| !is_role(role)) {
            let (field, problem) = ("ram_role_name", "it is not the name of a role".to_owned());
            return Err(Error::BadField { origin: source, field, problem });
        }
        let kind = SourceKind::Metadata(self.metadata_service(role)?);
        Ok(CredentialSource::new(source, kind))
    }

    /// The metadata service, and what it is asked for.
    pub(super) fn metadata_service(&self, role: Option<String>) -> Result<Metadata, Error> {
        let refused = "http:// is for this machine's own addresses and 100.100.100.200 only";
        let variable = self.env.host.variables().metadata_url;
        let base = self.base(variable, metadata::BASE, Address::is_link_local, refused)?;
        let needs_token = self.env.is_on(IMDSV1_DISABLED)?;
        Ok(Metadata { base, role, needs_token })
    }

    /// Where a service is: as a variable says, or else the usual place. Without TLS only where it is local.
    fn base(
        &self,
        variable: Option<&'static str>,
        usual: &'static str,
        is_local: impl Fn(&Address) -> bool,
        refused: &str,
    ) -> Result<Address, Error> {
        let own = self.env.own(variable)?;
        let (variable, url) = own.unwrap_or_else(|| (usual, usual.to_owned()));
        let bad = |problem: &str| Error::BadVariable {
            variable: variable.to_owned(),
            problem: problem.to_owned(),
        };
        let base = Address::parse(&url).map_err(bad)?;
        match base.uses_tls() || is_local(&base) {
            true => Ok(base),
            false => Err(bad(refused)),
        }
    }

    /// Where a credentials URI leads.
    pub(super) fn address(&self, text: &str, source: &Source) -> Result<Address, Error> {
        Address::parse(text).map_err(|problem| Error::BadField {
            origin: source.clone(),
            field: "credentials_uri",
            problem: problem.to_owned(),
        })
    }

    fn path(&self, text: &str) -> PathBuf {
        in_home(text.as_ref(), self.home.as_deref())
    }
}

/// An error of a profile, with those that take their keys from it.
fn in_source_chain(error: Error, steps: &[(Role, Source)], subject: &Subject<'_>) -> Error {
    let chain: Vec<_> = steps.iter().map(|(_, source)| source.clone()).collect();
    error.in_source_chain(chain, subject.source.clone())
}

#[cfg(test)]
#[path = "modes_tests.rs"]
mod tests;
