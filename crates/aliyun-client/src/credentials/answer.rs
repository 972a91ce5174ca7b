//! The profile that a program of mode External prints, and the source of credentials that it names.
//!
//! It is read by the code that reads a profile of a file. Keys that it holds are used as they stand: a
//! login of mode CloudSSO or OAuth is not renewed, since its new tokens could not be given back.

use std::time::SystemTime;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use super::credential_source::CredentialSource;
use super::env::Environment;
use super::error::Error;
use super::external::{self, Program};
use super::host::{FetchContext, Host};
use super::json;
use super::modes::Reader;
use super::problem::ExternalProblem;
use super::profile::{Profile, ProfileFile};
use super::source::Source;

/// What a program has printed.
pub(super) struct Answer {
    pub(super) credential_source: CredentialSource,
    /// When the credentials end, as it says.
    pub(super) until: Option<SystemTime>,
    /// When it was read.
    pub(super) at: SystemTime,
}

/// Runs a program, and reads the profile that it prints.
pub(super) async fn ask(
    program: &Program,
    source: &Source,
    context: &FetchContext,
) -> Result<Answer, Error> {
    let printed = external::run(&program.command, source, &*context.host).await?;
    let unusable = |problem| {
        let program = external::program(&program.command);
        let problem = Box::new(ExternalProblem::Unusable { program, problem });
        Error::External { origin: source.clone(), problem }
    };
    let fields = json::object(printed.expose_secret().as_bytes()).map_err(unusable)?;
    drop(printed);
    let now = SystemTime::now();
    let until = json::text(&fields, "expiration").and_then(|end| json::time(&end));
    let found = read(program, fields, source, now, &*context.host);
    let credential_source = found.map_err(|error| match error {
        Error::MissingField { origin: Source::Answer { .. }, field } => {
            unusable(format!("it has no {field}"))
        }
        Error::BadField { origin: Source::Answer { .. }, field, problem } => {
            unusable(format!("its {field} is invalid: {problem}"))
        }
        other => other,
    })?;
    if let Some(at) = until.filter(|at| *at <= now) {
        let origin = Box::new(credential_source.source().clone());
        return Err(Error::Expired { origin, field: "expiration", at, now });
    }
    Ok(Answer { credential_source, until, at: now })
}

/// Reads the profile that a program has printed.
fn read(
    program: &Program,
    mut fields: Map<String, Value>,
    source: &Source,
    now: SystemTime,
    host: &dyn Host,
) -> Result<CredentialSource, Error> {
    for (name, value) in &program.inherited {
        if json::text(&fields, name).is_none() {
            fields.insert((*name).to_owned(), value.clone().into());
        }
    }
    let mut files = Vec::new();
    if json::text(&fields, "source_profile").is_some() {
        for path in &program.files {
            files.extend(ProfileFile::read(path, host)?);
        }
    }
    let own = files.iter().find(|file| Some(&file.path) == program.files.first());
    let none = ProfileFile::empty(program.files.first().cloned().unwrap_or_default());
    let variable = |name: &str| {
        let mut found = program.variables.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.clone())
    };
    let reader = Reader {
        files: &files,
        env: &Environment { get: &variable, host },
        now,
        home: program.home.clone(),
        region: program.region.clone(),
    };
    let profile = Profile::new(program.name.clone(), fields);
    reader.answer(own.unwrap_or(&none), &profile, source)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::super::scripted::Own;
    use super::*;

    const NOW: u64 = 1_700_000_000;

    /// Reads what a program prints.
    fn read(printed: &str) -> Result<CredentialSource, Error> {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(NOW);
        let env = |name: &str| (name == "ALICLOUD_ROLE_SESSION_NAME").then(|| "session".into());
        let fields = json::object(br#"{"mode":"External","region_id":"cn-beijing"}"#).unwrap();
        let profile = Profile::new("p".into(), fields);
        let file = ProfileFile::empty("/f".into());
        let env = &Environment { get: &env, host: &() };
        let reader = Reader { files: &[], env, now, home: None, region: None };
        let program = reader.program("tool".into(), &file, &profile);
        let source =
            Source::Profile { name: "p".into(), file: "/f".into(), mode: "External".into() };
        super::read(&program, json::object(printed.as_bytes()).unwrap(), &source, now, &())
    }

    #[test]
    fn what_it_prints_is_taken_as_its_mode_says() {
        let keys = r#""access_key_id": "i", "access_key_secret": "hush""#;
        let read = |more: &str| read(&format!("{{{keys}{more}}}"));
        for (more, is_temporary) in [
            ("", false),
            (r#", "sts_token": "t""#, true),
            (r#", "sts_token": "t", "mode": "AK""#, false),
            (r#", "sts_token": "t", "mode": "ststoken""#, true),
            (r#", "sts_token": "t", "mode": "CloudSSO", "access_token": "a""#, true),
        ] {
            let credential_source = read(more).unwrap();
            let credentials = &credential_source.cached().unwrap().credentials;
            assert_eq!(credentials.security_token().is_some(), is_temporary, "{more}");
        }
        let role = r#", "mode": "RamRoleArn", "ram_role_arn": "acs:ram::1:role/r""#;
        let credential_source = read(role).unwrap();
        // The region is that of the profile, and the session's name that of the environment.
        assert_eq!(credential_source.sts().unwrap().host(), "sts.cn-beijing.aliyuncs.com");
        let credential_source = read(&format!(r#"{role}, "region_id": "cn-hangzhou""#)).unwrap();
        assert_eq!(credential_source.sts().unwrap().host(), "sts.cn-hangzhou.aliyuncs.com");
        assert_eq!(
            credential_source.source().to_string(),
            "the output of process_command of profile 'p' of /f (mode RamRoleArn)"
        );
    }

    #[test]
    fn what_leads_to_a_program_again_is_refused() {
        for printed in
            [r#"{"mode":"External","process_command":"x"}"#, r#"{"process_command":"x"}"#]
        {
            let error = read(printed).unwrap_err();
            assert!(matches!(error, Error::ProgramInAnswer { .. }), "{error}");
        }
    }

    /// A variable that a mode looks at and that is not kept would be lost.
    #[test]
    fn every_variable_that_a_mode_looks_at_is_kept() {
        let asked = Mutex::new(BTreeSet::new());
        let env = |name: &str| {
            asked.lock().unwrap().insert(name.to_owned());
            None
        };
        let env = Environment { get: &env, host: &Own };
        let kept: BTreeSet<String> = {
            env.variables();
            std::mem::take(&mut *asked.lock().unwrap())
        };
        let file = ProfileFile::empty("/f".into());
        let now = SystemTime::UNIX_EPOCH;
        let reader = Reader { files: &[], env: &env, now, home: None, region: None };
        for (_, mode) in super::super::mode::Mode::ALL {
            let fields = format!(
                r#"{{"mode":"{mode}","access_key_id":"i","access_key_secret":"s","sts_token":"t",
                "credentials_uri":"http://h/","ram_role_arn":"acs:ram::1:role/r","source_profile":"q",
                "oidc_provider_arn":"p","oidc_token_file":"f","process_command":"c",
                "oauth_refresh_token":"r"}}"#
            );
            let fields = json::object(fields.as_bytes()).unwrap();
            let _ = reader.profile(&file, &Profile::new("p".into(), fields));
        }
        let asked = asked.lock().unwrap();
        assert!(asked.len() > 10 && asked.is_subset(&kept), "{asked:?}");
    }
}
