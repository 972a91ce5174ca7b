use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use super::*;
use crate::explain::Explain as _;

struct World {
    home: tempfile::TempDir,
    env: HashMap<String, String>,
    profile: Option<String>,
    config: Option<PathBuf>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aliyun")).unwrap();
        Self { home, env: HashMap::new(), profile: None, config: None }
    }

    fn file(self, name: &str, content: &str) -> Self {
        std::fs::write(self.home.path().join(".aliyun").join(name), content).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn keys(self) -> Self {
        self.env("ALIBABA_CLOUD_ACCESS_KEY_ID", "env").env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")
    }

    fn profile(mut self, name: &str) -> Self {
        self.profile = Some(name.into());
        self
    }

    fn config(mut self, path: &str) -> Self {
        self.config = Some(self.home.path().join(path));
        self
    }

    fn resolve(&self) -> Result<Resolved, Error> {
        resolve(&Query {
            profile: self.profile.as_deref(),
            config: self.config.as_deref(),
            env: &|name| self.env.get(name).map(OsString::from),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            home: Some(self.home.path().to_owned()),
        })
    }

    fn key(&self) -> String {
        self.resolve().unwrap().credentials.access_key_id().to_owned()
    }

    fn error(&self) -> (String, String, String) {
        let error = self.resolve().unwrap_err();
        (error.to_string(), error.why().unwrap_or_default(), error.remedy().unwrap_or_default())
    }
}

fn file_of(current: &str, names: &[&str]) -> String {
    let profiles: Vec<_> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"name":"{name}","mode":"AK","access_key_id":"{name}-key","access_key_secret":"hush","region_id":"cn-{name}","endpoint":"{name}.example.com","endpoint_type":"vpc"}}"#
            )
        })
        .collect();
    format!(r#"{{"current":"{current}","profiles":[{}]}}"#, profiles.join(","))
}

#[test]
fn the_order() {
    let world = World::new().file("config.json", &file_of("a", &["a", "b", "c"]));
    assert_eq!(world.key(), "a-key");
    let world = world.keys();
    assert_eq!(world.key(), "env");
    let world = world.env("ALICLOUD_PROFILE", "b");
    assert_eq!(world.key(), "b-key", "a profile named by the environment comes before keys there");
    let world = world.env("ALIBABACLOUD_PROFILE", "c").env("ALIBABA_CLOUD_PROFILE", "b");
    assert_eq!(world.key(), "c-key");
    assert_eq!(world.profile("a").key(), "a-key");
}

#[test]
fn region_and_endpoint_belong_to_the_profile_and_yield_to_the_environment() {
    let world = World::new().file("config.json", &file_of("a", &["a"]));
    let found = world.resolve().unwrap();
    assert_eq!(found.region.as_deref(), Some("cn-a"));
    assert_eq!(found.endpoint.as_deref(), Some("a.example.com"));
    assert_eq!(found.endpoint_type.as_deref(), Some("vpc"));

    let world = world.env("ALICLOUD_REGION_ID", "cn-env").env("ALIBABA_CLOUD_ENDPOINT", "e");
    let found = world.resolve().unwrap();
    assert_eq!(found.region.as_deref(), Some("cn-env"));
    assert_eq!(found.endpoint.as_deref(), Some("e"));

    let found = World::new().file("config.json", &file_of("a", &["a"])).keys().resolve().unwrap();
    assert_eq!(found.region.as_deref(), Some("cn-a"));
    assert_eq!(found.endpoint, None, "another account's endpoint is not used");
    assert_eq!(found.endpoint_type, None);
}

#[test]
fn keys_in_the_environment_need_no_file_and_no_sound_one() {
    assert_eq!(World::new().keys().key(), "env");
    assert_eq!(World::new().file("config.json", "{").keys().key(), "env");
    let world = World::new().file("config.json", "{").keys().config(".aliyun/config.json");
    assert!(matches!(world.resolve(), Err(Error::Unusable { .. })), "--config was asked for");
}

#[test]
fn config_ecs_comes_first() {
    let world = World::new().file("config.json", &file_of("a", &["a", "b"]));
    let world = world.file("config_ecs.json", &file_of("b", &["b"]));
    assert_eq!(world.key(), "b-key");
    let found = world.resolve().unwrap().credentials;
    assert!(found.source().to_string().contains("config_ecs.json"));
    assert_eq!(world.profile("a").key(), "a-key", "what it has not is looked for in the other");
    let world = World::new().file("config.json", &file_of("a", &["a"]));
    assert_eq!(world.file("config_ecs.json", "{}").key(), "a-key");
}

#[test]
fn a_file_given_by_hand_stands_alone() {
    let world = World::new().file("config.json", &file_of("a", &["a"]));
    let world = world.file("other.json", &file_of("o", &["o"])).config(".aliyun/other.json");
    assert_eq!(world.key(), "o-key");
    let (what, why, fix) = world.profile("a").error();
    assert_eq!(what, "there is no profile 'a'");
    assert!(why.starts_with("--profile asks for it; ") && why.ends_with("other.json has: o"));
    assert!(fix.contains("aliyun configure --profile a"));

    let world = World::new().file("x.json", &file_of("o", &["o"]));
    let world = world.env("ALIBABA_CLOUD_CONFIG_FILE", "~/.aliyun/x.json");
    assert_eq!(world.key(), "o-key");
    let world = World::new().env("ALICLOUD_CONFIG_FILE", "/no/such/file");
    let (what, why, _) = world.error();
    assert_eq!(what, "the configuration file /no/such/file does not exist");
    assert_eq!(why, "ALICLOUD_CONFIG_FILE names it");
}

#[test]
fn current_that_is_missing_or_wrong() {
    assert_eq!(
        World::new().file("config.json", &file_of("", &["x", "default"])).key(),
        "default-key"
    );
    let (what, why, _) = World::new().file("config.json", &file_of("gone", &["x", "y"])).error();
    assert_eq!(what, "there is no profile 'gone'");
    assert!(why.contains("'current' of") && why.ends_with("has: x, y"), "{why}");
    let (what, why, _) = World::new().file("config.json", &file_of("", &["x", "y"])).error();
    assert_eq!(what, "no credentials were found");
    assert!(why.contains("names no current profile; it has x, y"), "{why}");
}

#[test]
fn nothing_anywhere_lists_what_was_looked_at() {
    let (what, why, fix) = World::new().error();
    assert_eq!(what, "no credentials were found");
    for place in ["ALICLOUD_PROFILE", "ALIBABACLOUD_", "config_ecs.json: not there", "ECS_METADATA"]
    {
        assert!(why.contains(place), "{place} in {why}");
    }
    assert!(fix.contains("aliyun configure"));
    let error = resolve(&Query {
        profile: None,
        config: None,
        env: &|_| None,
        now: SystemTime::UNIX_EPOCH,
        home: None,
    });
    assert!(error.unwrap_err().why().unwrap().contains("no home folder"));
    let (_, why, _) = World::new().profile("p").error();
    assert_eq!(why, "--profile asks for it, and there is no profile file");
}

#[test]
fn sources_that_are_not_supported_yet_are_named_in_their_turn() {
    let oidc = |world: World| {
        world
            .env("ALIBABA_CLOUD_ROLE_ARN", "r")
            .env("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p")
            .env("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/t")
    };
    let world = oidc(World::new().file("config.json", &file_of("a", &["a"])));
    let (what, _, fix) = world.error();
    assert!(what.contains("OIDC (ALIBABA_CLOUD_OIDC_TOKEN_FILE)"), "{what}");
    assert!(fix.contains("--profile"));
    assert_eq!(world.keys().key(), "env");

    let world = World::new().env("ALICLOUD_ECS_METADATA", "role");
    assert!(world.error().0.contains("EcsRamRole (ALICLOUD_ECS_METADATA)"));
    let world = world.file("config.json", &file_of("a", &["a"]));
    assert_eq!(world.key(), "a-key", "the current profile comes before the metadata service");
    let world = World::new().env("ALIBABA_CLOUD_CREDENTIALS_URI", "http://x");
    assert!(world.error().0.contains("CredentialsURI"));
}

#[test]
fn a_profile_that_cannot_be_used_is_an_error_and_shows_no_secret() {
    let json = r#"{"current":"sso","profiles":[{"name":"sso","mode":"CloudSSO","access_key_secret":"hush"}]}"#;
    let world = World::new().file("config.json", json);
    let error = world.resolve().unwrap_err();
    let all = format!("{error:?} {error} {:?} {:?}", error.why(), error.remedy());
    assert!(
        error.to_string().starts_with("mode CloudSSO is not supported yet (profile 'sso' of "),
        "{error}"
    );
    assert!(error.remedy().unwrap().contains("meanwhile"));
    assert!(!all.contains("hush"));
    assert_eq!(error.exit_code() as u8, 3);
}
