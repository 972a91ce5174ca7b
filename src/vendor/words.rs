//! The syntax of ali-instance-cli: `--name value`, `--name=value`, `--name:value`, and the same with short
//! names. No short names together, no `--`.

use super::table::{Command, OPTIONS, Opt, Value};
use crate::shell::idle;

/// How alike a word has to be to what it may have been meant for.
const ALIKE: f64 = 0.75;

/// A command line in the words of ali-instance-cli.
#[derive(Debug)]
pub(super) struct Line {
    /// Nothing where only the program is named.
    pub(super) command: Option<Command>,
    pub(super) options: Vec<(&'static Opt, Option<String>)>,
    /// The words that are neither.
    pub(super) words: Vec<String>,
}

/// Why a command line is not understood. Nothing of it is a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Wrong {
    pub(super) kind: Kind,
    pub(super) what: String,
    pub(super) fix: String,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    Option,
    Positional,
    Twice,
    Value,
    Missing,
    Refused,
}

impl Wrong {
    pub(super) fn new(kind: Kind, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { kind, what: what.into(), fix: fix.into() }
    }
}

impl Line {
    /// Takes a command line apart. `program` is what the user called.
    ///
    /// # Errors
    /// When it is not understood.
    pub(super) fn read(words: &[String], program: &str) -> Result<Self, Wrong> {
        let mut line = Self { command: None, options: Vec::new(), words: Vec::new() };
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            if word.len() < 2 || !word.starts_with('-') {
                line.word(word, program)?;
                continue;
            }
            let (name, mut value) = split(word);
            let Some(option) = Opt::spelt(name) else { return Err(line.unknown(name, program)) };
            if line.options.iter().any(|(known, _)| known.name == option.name) {
                let what = format!("--{} is given twice (duplicated)", option.name);
                return Err(Wrong::new(Kind::Twice, what, "give it once"));
            }
            let is_optional = matches!(option.value, Value::Optional | Value::Mode);
            match (&value, option.value) {
                (Some(_), Value::None) => {
                    let what = format!("--{} takes no value", option.name);
                    return Err(Wrong::new(
                        Kind::Value,
                        what,
                        format!("give --{} alone", option.name),
                    ));
                }
                (None, Value::None) | (Some(_), _) => {}
                (None, _) => {
                    value = rest.next_if(|next| !is_option(next)).cloned();
                    if value.is_none() && !is_optional {
                        return Err(no_value(option));
                    }
                }
            }
            let value = value.filter(|value| !(is_optional && value.is_empty()));
            line.options.push((option, value));
        }
        line.check_used(program)?;
        Ok(line)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(option, _)| option.name == name);
        found.and_then(|(_, value)| value.as_deref())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option.name == name)
    }

    fn word(&mut self, word: &str, program: &str) -> Result<(), Wrong> {
        match self.command {
            None => {
                self.command = Some(Command::named(word).ok_or_else(|| no_command(word, program))?);
            }
            Some(Command::Configure) if self.words.is_empty() => {
                match Command::named(&format!("configure {word}")) {
                    Some(command) => self.command = Some(command),
                    None => self.words.push(word.to_owned()),
                }
            }
            Some(_) => self.words.push(word.to_owned()),
        }
        Ok(())
    }

    fn unknown(&self, name: &str, program: &str) -> Wrong {
        let known =
            OPTIONS.iter().filter(|o| self.command.is_none_or(|command| o.is_used_by(command)));
        let names = known.flat_map(|o| [o.name].into_iter().chain(o.aliases.iter().copied()));
        let meant = nearest(name.trim_start_matches('-'), names);
        let of = self.command.map(|command| format!(" {}", command.name())).unwrap_or_default();
        let fix = match meant {
            Some(meant) => {
                format!("did you mean --{meant}? `{program} help{of}` lists the options")
            }
            None => format!("`{program} help{of}` lists the options"),
        };
        Wrong::new(Kind::Option, format!("unknown option '{}'", shown(name)), fix)
    }

    fn check_used(&self, program: &str) -> Result<(), Wrong> {
        let Some(command) = self.command else { return Ok(()) };
        let unused = self.options.iter().find(|(option, _)| !option.is_used_by(command));
        if let Some((option, _)) = unused {
            let what = format!("{} has no option --{}", command.name(), option.name);
            let fix =
                format!("leave it out; `{program} help {}` lists the options", command.name());
            return Err(Wrong::new(Kind::Option, what, fix));
        }
        let takes_words = matches!(command, Command::ConfigureGet | Command::Help);
        if !self.words.is_empty() && !takes_words {
            let fix = match command.needs_instance() {
                true => "name the instance by --instance; values follow their option",
                false => "leave it out",
            };
            let what = format!("{} takes no argument without an option", command.name());
            return Err(Wrong::new(Kind::Positional, what, fix));
        }
        self.options.iter().try_for_each(|(option, value)| match value {
            Some(value) => check_value(option, value),
            None => Ok(()),
        })
    }
}

/// The name of an option and the value that is written to it.
fn split(word: &str) -> (&str, Option<String>) {
    match word.find(['=', ':']) {
        Some(at) => (&word[..at], Some(word[at + 1..].to_owned())),
        None => (word, None),
    }
}

/// Whether a word is an option, and no value.
fn is_option(word: &str) -> bool {
    word.starts_with('-') && Opt::spelt(split(word).0).is_some()
}

fn no_value(option: &Opt) -> Wrong {
    let name = option.name;
    Wrong::new(
        Kind::Value,
        format!("--{name} has no value"),
        format!("give it: --{name} VALUE, or --{name}=VALUE"),
    )
}

fn no_command(word: &str, program: &str) -> Wrong {
    let names = Command::all().map(Command::name).filter(|name| !name.contains(' '));
    let help = format!("`{program} help` lists the commands");
    let fix = match nearest(word, names) {
        Some(meant) => format!("did you mean {meant}? {help}"),
        None => help,
    };
    Wrong::new(Kind::Command, format!("unknown command '{}'", shown(word)), fix)
}

fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let rated = names.map(|name| (strsim::jaro_winkler(word, name), name));
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}

fn shown(word: &str) -> String {
    crate::explain::printable(&word.chars().take(40).collect::<String>())
}

fn check_value(option: &Opt, value: &str) -> Result<(), Wrong> {
    let expected = match option.value {
        Value::Port(least) => {
            let is_port = value.parse::<u16>().is_ok_and(|port| port >= least);
            (!is_port).then(|| format!("a port, a number from {least} to 65535"))
        }
        Value::HostPort => host_port(value).is_none().then(|| "a port, or host:port".to_owned()),
        Value::IdleTimeout => {
            idle_timeout(value).is_none().then(|| "seconds, 60 at least, or 0 for never".to_owned())
        }
        Value::Number => value.parse::<u32>().is_err().then(|| "a number".to_owned()),
        Value::Mode => {
            let modes = crate::credentials::modes(false);
            let is_known = modes.split(", ").any(|mode| mode.eq_ignore_ascii_case(value));
            (!is_known).then(|| format!("one of {modes}"))
        }
        Value::ConnectionType => {
            let is_known = ["internet", "intranet"].contains(&value.to_ascii_lowercase().as_str());
            (!is_known).then(|| "Internet or Intranet".to_owned())
        }
        Value::Text if value.is_empty() && !option.is_used_by(Command::ConfigureSet) => {
            return Err(no_value(option));
        }
        Value::None | Value::Text | Value::Optional => None,
    };
    let Some(expected) = expected else { return Ok(()) };
    let what = format!("--{} cannot be '{}'", option.name, shown(value));
    Err(Wrong::new(Kind::Value, what, format!("give {expected}")))
}

/// The host and the port of `host:port` or of a port.
pub(super) fn host_port(value: &str) -> Option<(Option<&str>, u16)> {
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => (Some(host), port),
        Some(_) => return None,
        None => (None, value),
    };
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let inside = host.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    Some((inside, port))
}

/// The seconds of an idle timeout as ali-instance-cli takes them: what is shorter than it can be becomes the
/// shortest, and what is less than 0 is never.
pub(super) fn idle_timeout(value: &str) -> Option<u64> {
    let seconds = u64::try_from(value.parse::<i32>().ok()?.max(0)).ok()?;
    Some(if seconds == 0 { 0 } else { seconds.clamp(idle::LEAST, idle::MOST) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Line, Wrong> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Line::read(&words, "ali-instance-cli")
    }

    #[test]
    fn each_option_takes_its_value_in_each_syntax() {
        let mut count = 0;
        for option in OPTIONS.iter().filter(|option| option.value != Value::None) {
            let command = Command::all().find(|command| option.is_used_by(*command)).unwrap();
            let value = match option.value {
                Value::Port(_) | Value::Number | Value::IdleTimeout => "80",
                Value::HostPort => "db:80",
                Value::Mode => "AK",
                Value::ConnectionType => "Intranet",
                _ => "a=b:c",
            };
            let long = [option.name].into_iter().chain(option.aliases.iter().copied());
            let names = long.map(|name| format!("--{name}"));
            let names = names.chain(option.short.map(|short| format!("-{short}")));
            for (name, mark) in
                names.flat_map(|name| [" ", "=", ":"].map(|mark| (name.clone(), mark)))
            {
                let line = read(&format!("{} {name}{mark}{value}", command.name())).unwrap();
                assert_eq!(line.get(option.name), Some(value), "{name}{mark}{value}");
                let line = read(&format!("{name}{mark}{value} {}", command.name())).unwrap();
                assert_eq!(line.command, Some(command), "an option may come first: {name}{mark}");
                count += 1;
            }
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn what_is_not_understood_says_why() {
        for (line, kind, words) in [
            ("sesion", Kind::Command, "did you mean session?"),
            ("ssh --instanze i-1", Kind::Option, "did you mean --instance?"),
            ("ssh -iv i-1", Kind::Option, "-iv"),
            ("ssh --", Kind::Option, "'--'"),
            ("ssh --local-port 1", Kind::Option, "ssh has no option --local-port"),
            ("ssh i-1", Kind::Positional, "--instance"),
            ("portforward -i i-1 80", Kind::Positional, "without an option"),
            ("send_public_key i-1", Kind::Positional, "--instance"),
            ("session -i i-1 --instance=i-1", Kind::Twice, "duplicated"),
            ("session -u wss://a --url wss://b", Kind::Twice, "--wss-url"),
            ("session --idle-timeout soon", Kind::Value, "60 at least"),
            ("session --idle-timeout 4294967296", Kind::Value, "60 at least"),
            ("session --mode RsaKeyPair", Kind::Value, "one of AK, StsToken"),
            ("session --connection-type vpc", Kind::Value, "Internet or Intranet"),
            ("ssh --port 0", Kind::Value, "from 1 to 65535"),
            ("ssh --port 65536", Kind::Value, "from 1 to 65535"),
            ("ssh --port", Kind::Value, "has no value"),
            ("ssh --instance --port 22", Kind::Value, "--instance has no value"),
            ("ssh --instance=", Kind::Value, "has no value"),
            ("portforward -r :22", Kind::Value, "host:port"),
            ("portforward -r db:", Kind::Value, "host:port"),
            ("ssh --verbose=1", Kind::Value, "takes no value"),
        ] {
            let wrong = read(line).unwrap_err();
            assert_eq!(wrong.kind, kind, "{line}: {wrong:?}");
            assert!(format!("{} {}", wrong.what, wrong.fix).contains(words), "{line}: {wrong:?}");
        }
    }

    #[test]
    fn values_may_be_left_out_of_some_options() {
        let line = read("session --profile --mode -i i-1").unwrap();
        assert_eq!((line.get("profile"), line.get("mode")), (None, None));
        assert_eq!(line.get("instance"), Some("i-1"));
        assert_eq!(read("configure get region mode").unwrap().words, ["region", "mode"]);
        assert_eq!(host_port("[::1]:22"), Some((Some("::1"), 22)));
    }

    #[test]
    fn an_idle_timeout_is_a_minute_at_least_or_never() {
        for (text, seconds) in [
            ("-2147483648", Some(0)),
            ("-1", Some(0)),
            ("0", Some(0)),
            ("1", Some(60)),
            ("59", Some(60)),
            ("61", Some(61)),
            ("2147483647", Some(31_536_000)),
            ("2147483648", None),
            ("1.5", None),
        ] {
            assert_eq!(idle_timeout(text), seconds, "{text}");
        }
    }
}
