//! From a command line of ali-instance-cli to one of this program: there is one implementation of each
//! command.

use secrecy::SecretString;

use super::table::{Command, Opt, Value};
use super::words::{Kind, Line, Wrong, host_port, idle_timeout};
use crate::credentials::{Overrides, form, shell_word};

/// Options that a command line of this program has under another name, or the same.
const SAME: [(&str, &str); 5] = [
    ("user-name", "--user-name"),
    ("public-key", "--public-key"),
    ("service-instance", "--service-instance"),
    ("password-name", "--password-name"),
    ("password", "--password"),
];
/// The port where ali-instance-cli listens, and the one that it leads to, unless others are given.
const PORT: &str = "80";

/// A command line of this program, and the messages about the one that it was made of.
#[derive(Debug)]
pub(crate) struct Translated {
    /// The words behind the name of the program.
    pub(crate) words: Vec<String>,
    pub(crate) overrides: Overrides,
    pub(crate) vendor: Vendor,
}

/// The messages about a command line in the words of ali-instance-cli.
#[derive(Clone, Debug)]
pub(crate) struct Vendor {
    /// The command line, without secrets.
    pub(crate) shown: String,
    /// The warnings to its user.
    pub(crate) warnings: Vec<String>,
    /// The notes to its user.
    pub(crate) notes: Vec<String>,
}

/// Translates a command line. `program` is what the user called.
///
/// # Errors
/// When something is missing, or is refused.
pub(super) fn translate(
    command: Command,
    line: &Line,
    program: &str,
    profile_first: bool,
) -> Result<Translated, Wrong> {
    refuse(line)?;
    let mut words = global(line);
    // `configure` alone prompts; with fields on the command line it stores them.
    let sets = line
        .options
        .iter()
        .any(|(o, value)| o.field.is_some_and(|field| field != "mode") && value.is_some());
    let command = match command {
        Command::Configure if sets => Command::ConfigureSet,
        command => command,
    };
    match command {
        Command::Ssh | Command::Session | Command::PortForward | Command::SendPublicKey => {
            return on_instance(command, line, program, words, profile_first);
        }
        Command::Configure => {
            words.push("configure".to_owned());
            words.extend(line.get("mode").map(|mode| format!("--mode={mode}")));
        }
        Command::ConfigureSet => {
            words.extend(["configure".to_owned(), "set".to_owned()]);
            for (option, value) in &line.options {
                let is_field = option.field.is_some() || option.name == "language";
                if let (true, Some(value)) = (is_field, value) {
                    words.push(format!("--{}={value}", option.name));
                }
            }
        }
        Command::ConfigureGet => {
            words.extend(["configure", "get", "--"].map(str::to_owned));
            words.extend(line.words.iter().cloned());
        }
        Command::ConfigureList => words.extend(["configure", "list"].map(str::to_owned)),
        Command::ConfigureDelete => words.extend(["configure", "delete"].map(str::to_owned)),
        Command::Version | Command::Help => words.push("--version=".to_owned()),
    }
    // So `configure list` shows what the other commands use.
    let overrides = Overrides { profile_first, ..Overrides::default() };
    Ok(Translated { words, overrides, vendor: vendor(command, line, program) })
}

fn on_instance(
    command: Command,
    line: &Line,
    program: &str,
    mut words: Vec<String>,
    profile_first: bool,
) -> Result<Translated, Wrong> {
    let instance = line.get("instance");
    if instance.is_none() && !line.has("wss-url") {
        let what = format!("{} needs an instance", command.name());
        let fix = format!("give its id: {program} {} --instance i-…", command.name());
        return Err(Wrong::new(Kind::Missing, what, fix));
    }
    words.push(
        match command {
            Command::Ssh => "proxy",
            Command::PortForward => "forward",
            Command::SendPublicKey => "send-key",
            _ => "session",
        }
        .to_owned(),
    );
    let mut add = |name: &str, value: Option<&str>| {
        words.extend(value.map(|value| format!("{name}={value}")));
    };
    for (name, ours) in SAME {
        add(ours, line.get(name));
    }
    let idle_after = line.get("idle-timeout").and_then(idle_timeout);
    add("--idle-timeout", idle_after.map(|seconds| seconds.to_string()).as_deref());
    if instance.is_none() {
        add("--wss-url", line.get("wss-url"));
    }
    let connection_type = line.get("connection-type").map(str::to_ascii_lowercase);
    add("--connection-type", connection_type.as_deref());
    if command != Command::Ssh {
        add("--instance", instance);
    }
    match command {
        Command::PortForward => {
            add("--local-port", line.get("local-port").or(Some(PORT)));
            let remote = host_port(line.get("remote-port").unwrap_or(PORT));
            add("--remote-port", remote.map(|(_, port)| port.to_string()).as_deref());
            add("--remote-host", remote.and_then(|(host, _)| host));
            add("--bind", line.get("bind"));
        }
        Command::Ssh => {
            words.push("--".to_owned());
            words.extend(instance.map(str::to_owned));
            words.push(line.get("port").unwrap_or("22").to_owned());
        }
        _ => {}
    }
    let fields = line
        .options
        .iter()
        .filter_map(|(option, value)| Some((option.field?, SecretString::from(value.as_deref()?))));
    let key_origin = "the command line (--access-key-id)".to_owned();
    let overrides = Overrides { fields: fields.collect(), profile_first, key_origin };
    Ok(Translated { words, overrides, vendor: vendor(command, line, program) })
}

/// The options that every command takes.
fn global(line: &Line) -> Vec<String> {
    let mut words = Vec::new();
    for (name, ours) in
        [("profile", "--profile"), ("region", "--region"), ("config-path", "--config")]
    {
        words.extend(line.get(name).map(|value| format!("{ours}={value}")));
    }
    if line.has("verbose") {
        words.push("--verbose".to_owned());
    }
    words
}

/// What is refused, since it would not be safe or is not there.
fn refuse(line: &Line) -> Result<(), Wrong> {
    let refused = |what: &str, fix: &str| Err(Wrong::new(Kind::Refused, what, fix));
    if line.has("skip-secure-verify") {
        return refused(
            "--skip-secure-verify is refused: certificates are always verified, since whoever answers \
             in the place of the service would get the credentials",
            "leave it out; to trust a CA of your own, set ECS_BRIDGE_CA_FILE to its certificate",
        );
    }
    if line.has("private-key") || line.has("key-pair-name") {
        return refused(
            "key pairs (mode RsaKeyPair) are not supported",
            "use another mode, such as AK or RamRoleArn",
        );
    }
    Ok(())
}

fn vendor(command: Command, line: &Line, program: &str) -> Vendor {
    let given = |option: &&(&'static Opt, Option<String>)| option.1.as_deref() != Some("-");
    let secrets =
        line.options.iter().filter(given).filter(|(option, value)| {
            option.is_secret && option.field.is_some() && value.is_some()
        });
    let secrets: Vec<_> = secrets.map(|(option, _)| format!("--{}", option.name)).collect();
    let mut warnings = Vec::new();
    // `configure set` has a warning of its own.
    if !secrets.is_empty() && command != Command::ConfigureSet {
        warnings.push(format!(
            "other users of this computer can read {} here: put it into a profile once, `configure` \
             prompts for it",
            secrets.join(" and ")
        ));
    }
    let mut notes = Vec::new();
    for (option, _) in &line.options {
        if option.value == Value::Number
            || option.name == "language" && command != Command::ConfigureSet
        {
            notes.push(format!("--{} has no effect: {}", option.name, option.help));
        }
    }
    if let Some(given) = line.get("idle-timeout")
        && let Some(seconds) = idle_timeout(given)
        && given.parse() != Ok(seconds)
    {
        notes.push(format!("--idle-timeout is {seconds}: 60 seconds at least, 0 for never"));
    }
    if line.has("instance") && line.has("wss-url") {
        notes.push("--wss-url has no effect: a session is started with --instance".to_owned());
    }
    Vendor { shown: shown(command, line, program), warnings, notes }
}

/// The command line as the log may show it.
fn shown(command: Command, line: &Line, program: &str) -> String {
    let mut shown = format!("{program} {}", command.name());
    // Of `configure`, which takes secrets, only its name.
    if matches!(command, Command::Configure | Command::ConfigureSet) {
        return shown;
    }
    for (option, value) in &line.options {
        shown.push_str(&format!(" --{}", option.name));
        match value {
            Some(_) if option.is_secret => shown.push_str(" …"),
            Some(value) => {
                // As `configure get` shows it: a URI or a command may have a secret in it.
                let value = match option.field {
                    Some(field) => form::shown(field, &value.as_str().into()),
                    None => value.clone(),
                };
                shown.push_str(&format!(" {}", shell_word(&value)));
            }
            None => {}
        }
    }
    crate::explain::printable(&shown)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn translated(line: &str) -> Result<Translated, Wrong> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let line = Line::read(&words, "ali-instance-cli")?;
        translate(line.command.unwrap(), &line, "ali-instance-cli", true)
    }

    #[test]
    fn command_lines_become_those_of_this_program() {
        for (line, ours) in [
            ("ssh --instance i-1 --port 22", "proxy -- i-1 22"),
            ("ssh -i=i-1", "proxy -- i-1 22"),
            ("ssh -u wss://a/b --port:2200", "proxy --wss-url=wss://a/b -- 2200"),
            (
                "portforward -i i-1 -l 8080 -r db.internal:3306",
                "forward --instance=i-1 --local-port=8080 --remote-port=3306 --remote-host=db.internal",
            ),
            (
                "portforward --instance i-1",
                "forward --instance=i-1 --local-port=80 --remote-port=80",
            ),
            (
                "--profile=work portforward -i i-1 -r 22 -l 0 --bind 127.0.0.1 --verbose",
                "--profile=work --verbose forward --instance=i-1 --local-port=0 --remote-port=22 --bind=127.0.0.1",
            ),
            (
                "send_public_key -i i-1 --public-key ~/.ssh/id.pub --user-name ops",
                "send-key --user-name=ops --public-key=~/.ssh/id.pub --instance=i-1",
            ),
            (
                "ssh -i i-1 -s si-1 --connection-type Intranet --region cn-beijing",
                "--region=cn-beijing proxy --service-instance=si-1 --connection-type=intranet -- i-1 22",
            ),
            // As the vendor's takes them.
            ("session -i i-1 --idle-timeout 30", "session --idle-timeout=60 --instance=i-1"),
            ("session -i i-1 --idle-timeout -1", "session --idle-timeout=0 --instance=i-1"),
            (
                "portforward -i i-1 --idle-timeout 600",
                "forward --idle-timeout=600 --instance=i-1 --local-port=80 --remote-port=80",
            ),
            ("session -u wss://a -i i-1", "session --instance=i-1"),
            ("ssh -i i-1 -u wss://a", "proxy -- i-1 22"),
            ("configure --mode StsToken -p x", "--profile=x configure --mode=StsToken"),
            (
                "configure set --mode AK --access-key-id id --access-key-secret - --language zh",
                "configure set --mode=AK --access-key-id=id --access-key-secret=- --language=zh",
            ),
            ("configure --access-key-id id", "configure set --access-key-id=id"),
            ("configure get region mode", "configure get -- region mode"),
            ("configure list --config-path /f", "--config=/f configure list"),
            ("configure delete --profile x", "--profile=x configure delete"),
        ] {
            let words = translated(line).unwrap().words;
            assert_eq!(words.join(" "), ours, "{line}");
            let argv = ["ecs-bridge".to_owned()].into_iter().chain(words);
            assert!(Cli::try_parse_from(argv).is_ok(), "{line}");
        }
    }

    #[test]
    fn secrets_are_warned_of_and_not_shown() {
        let line = "ssh -i i-1 --access-key-id id --access-key-secret=hush --sts-token hush";
        let Translated { overrides, vendor, words } = translated(line).unwrap();
        assert_eq!(overrides.fields.len(), 3);
        assert!(!format!("{overrides:?} {vendor:?} {words:?}").contains("hush"));
        assert_eq!(vendor.warnings.len(), 1, "{vendor:?}");
        assert!(vendor.warnings[0].contains("--access-key-secret and --sts-token"));
        let url = translated("session --url:wss://a?token=hush").unwrap().vendor;
        assert_eq!(url.shown, "ali-instance-cli session --wss-url …");
        let uri = translated("ssh -i i-1 --credentials-uri http://u:hush@h/x?t=hush").unwrap();
        assert!(!uri.vendor.shown.contains("hush"), "{}", uri.vendor.shown);
        let program = ["ssh", "-i", "i-1", "--process-command", "keys --secret hush"];
        let line = Line::read(&program.map(str::to_owned), "ali-instance-cli").unwrap();
        let shown = shown(Command::Ssh, &line, "ali-instance-cli");
        assert!(shown.contains("keys …") && !shown.contains("hush"), "{shown}");
        assert!(
            translated("configure set --access-key-secret -").unwrap().vendor.warnings.is_empty()
        );
    }

    #[test]
    fn what_is_taken_in_another_way_is_noted() {
        for (line, note) in [
            ("session -i i-1 --idle-timeout 30", Some("--idle-timeout is 60: ")),
            ("portforward -i i-1 --idle-timeout -5", Some("--idle-timeout is 0: ")),
            ("session -i i-1 -u wss://a?token=hush", Some("--wss-url has no effect: ")),
            ("session -i i-1 --idle-timeout 90", None),
            ("ssh -u wss://a", None),
        ] {
            let notes = translated(line).unwrap().vendor.notes;
            assert_eq!(notes.len(), usize::from(note.is_some()), "{line}: {notes:?}");
            let is_told = |note| notes[0].contains(note) && !notes[0].contains("hush");
            assert!(note.is_none_or(is_told), "{line}: {notes:?}");
        }
    }

    #[test]
    fn what_is_missing_or_refused_says_so() {
        for (line, words) in [
            ("ssh", "ssh needs an instance"),
            ("ssh -i i-1 --skip-secure-verify", "certificates are always verified"),
            ("configure set --private-key k", "not supported"),
        ] {
            let wrong = translated(line).unwrap_err();
            assert!(wrong.what.contains(words), "{line}: {wrong:?}");
        }
    }
}
