//! The order in which credentials are looked for, and what is said of it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use std::path::PathBuf;

use super::*;
use crate::explain::Explain as _;

struct World {
    home: tempfile::TempDir,
    env: HashMap<String, String>,
    profile: Option<String>,
    region: Option<String>,
    config: Option<PathBuf>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aliyun")).unwrap();
        Self { home, env: HashMap::new(), profile: None, region: None, config: None }
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
            profile: self.profile.clone().map(|name| given(name, "--profile")),
            region: self.region.clone().map(|region| given(region, "--region")),
            config: self.config.clone().map(|path| given(path, "--config")),
            env: &|name| self.env.get(name).map(OsString::from),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            home: Some(self.home.path().to_owned()),
            file: None,
            host: &host::Program,
        })
    }

    fn key(&self) -> String {
        let credential_source = self.resolve().unwrap().credential_source;
        credential_source.credentials().unwrap().access_key_id().to_owned()
    }

    fn error(&self) -> (String, String, String) {
        let error = self.resolve().unwrap_err();
        (error.to_string(), error.why().unwrap_or_default(), error.remedy().unwrap_or_default())
    }
}

fn given<T>(value: T, origin: &str) -> Setting<T> {
    Setting { value, origin: origin.to_owned() }
}

fn value(setting: &Option<Setting>) -> Option<&str> {
    setting.as_ref().map(|setting| setting.value.as_str())
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
    let path = world.home.path().join(".aliyun").join("config.json");
    let origin = format!("region_id of profile 'a' of {}", path.display());
    assert_eq!(found.region, Some(Setting { value: "cn-a".into(), origin }));
    assert_eq!(value(&found.endpoint), Some("a.example.com"));
    assert_eq!(value(&found.endpoint_type), Some("vpc"));

    let world = world.env("ALICLOUD_REGION_ID", "cn-env").env("ALIBABA_CLOUD_ENDPOINT", "e");
    let found = world.resolve().unwrap();
    let origin = "ALICLOUD_REGION_ID".to_owned();
    assert_eq!(found.region, Some(Setting { value: "cn-env".into(), origin }));
    assert_eq!(value(&found.endpoint), Some("e"));
    let world = World { region: Some("cn-flag".into()), ..world };
    assert_eq!(value(&world.resolve().unwrap().region), Some("cn-flag"));

    let found = World::new().file("config.json", &file_of("a", &["a"])).keys().resolve().unwrap();
    assert_eq!(value(&found.region), Some("cn-a"));
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
    let found = world.resolve().unwrap().credential_source;
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
    assert!(fix.contains("ecs-bridge configure --profile a"));

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
    for place in [
        "ALICLOUD_PROFILE",
        "ALIBABACLOUD_",
        "config_ecs.json: not there",
        &format!("{}: not there", PathBuf::from(".alibabacloud").join("credentials").display()),
        "ECS_METADATA with the same: not set",
        "no region is known",
        "CREDENTIALS_URI",
    ] {
        assert!(why.contains(place), "{place} in {why}");
    }
    assert!(fix.contains("ecs-bridge configure"));
    let error = resolve(&Query {
        profile: None,
        region: None,
        config: None,
        env: &|_| None,
        now: SystemTime::UNIX_EPOCH,
        home: None,
        file: None,
        host: &host::Program,
    });
    assert!(error.unwrap_err().why().unwrap().contains("no home folder"));
    let (_, why, _) = World::new().profile("p").error();
    assert_eq!(why, "--profile asks for it, and there is no profile file");
}

#[test]
fn the_environment_s_other_ways_have_their_turns() {
    let from = |world: &World| world.resolve().unwrap().credential_source.to_string();
    let oidc = |world: World| {
        world
            .env("ALIBABA_CLOUD_ROLE_ARN", "r")
            .env("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p")
            .env("ALICLOUD_OIDC_TOKEN_FILE", "/t")
    };
    let world = oidc(World::new().file("config.json", &file_of("a", &["a"])));
    assert_eq!(
        from(&world),
        "the environment (OIDC: ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN, \
         ALICLOUD_OIDC_TOKEN_FILE)"
    );
    assert_eq!(value(&world.resolve().unwrap().region), Some("cn-a"), "a good guess");
    assert_eq!(world.resolve().unwrap().endpoint, None);
    assert_eq!(world.keys().key(), "env");
    let world = World::new().env("ALIBABA_CLOUD_ROLE_ARN", "r");
    assert_eq!(world.error().0, "no credentials were found", "one of the three is not enough");

    let world = World::new().env("ALICLOUD_ECS_METADATA", "role");
    assert_eq!(from(&world), "the environment (EcsRamRole: ALICLOUD_ECS_METADATA)");
    let world = world.env("ALIBABACLOUD_CREDENTIALS_URI", "http://x");
    assert!(from(&world).contains("EcsRamRole"), "the metadata service comes first");
    let world = world.file("config.json", &file_of("a", &["a"]));
    assert_eq!(world.key(), "a-key", "the current profile comes before both");
    let world = World::new().env("ALIBABACLOUD_CREDENTIALS_URI", "http://x");
    assert_eq!(from(&world), "the environment (CredentialsURI: ALIBABACLOUD_CREDENTIALS_URI)");
}

#[test]
fn variables_that_are_of_no_use_are_named() {
    let (what, _, fix) = World::new().env("ALICLOUD_ECS_METADATA", "a/b").error();
    assert!(what.starts_with("ALICLOUD_ECS_METADATA of the environment"), "{what}");
    assert!(fix.starts_with("correct ALICLOUD_ECS_METADATA, or"), "{fix}");
    let (what, ..) = World::new().env("ALICLOUD_CREDENTIALS_URI", "hush").error();
    assert!(what.starts_with("ALICLOUD_CREDENTIALS_URI of") && !what.contains("hush"), "{what}");
    let world = World::new().env("ALICLOUD_ECS_METADATA", "r");
    let (what, ..) = world.env("ECS_BRIDGE_METADATA_URL", "http://192.0.2.1").error();
    assert!(what.starts_with("ECS_BRIDGE_METADATA_URL is invalid: http://"), "{what}");
}

#[test]
fn one_profile_of_one_file_is_found_whatever_else_there_is() {
    let world = World::new().file("config.json", &file_of("a", &["a", "b"]));
    let path = world.home.path().join(".aliyun/config.json");
    let found =
        resolve(&Query::of_profile(given("b".into(), "--profile"), given(path, "--config")))
            .unwrap();
    assert_eq!(found.credential_source.credentials().unwrap().access_key_id(), "b-key");
}

#[test]
fn many_names_are_cut_short() {
    let names: Vec<_> = (0..25).map(|number| format!("p{number}")).collect();
    assert!(listed(&names).ends_with("p19 and 5 more"));
    assert_eq!(listed(&names[..20]).matches(", ").count(), 19);
    assert_eq!(listed(&[]), "");
}
