//! `ecs-bridge completions`: what clap makes of the command line, with the targets that are remembered.

use std::time::SystemTime;

use clap::{Arg, Command, CommandFactory as _, ValueHint};
use clap_complete::{Shell, generate};

use crate::app::{Done, Result, print};
use crate::cli::{self, Cli};
use crate::credentials::home;
use crate::platform::cache::Cache;
use crate::target::cache::beginning_with;

/// What completes targets, beside what clap generates. `@…@` stands for words of the command line.
const BASH: &str = include_str!("targets.bash");
const ZSH: &str = include_str!("targets.zsh");
const FISH: &str = include_str!("targets.fish");

const NAME: &str = "ecs-bridge";

/// Prints the script of a shell.
pub(crate) fn run(args: &cli::Completions) -> Result<Done> {
    print(&script(args.shell).trim_end())?;
    Ok(Done::Normally)
}

/// Prints the targets that are remembered, for a script.
pub(crate) fn run_for_script(args: &cli::CompleteTargets) -> Result<Done> {
    let cache = Cache::of_user(&|name| std::env::var_os(name), home().as_deref());
    let targets = beginning_with(&cache, &args.prefix, SystemTime::now());
    if !targets.is_empty() {
        print(&targets.join("\n"))?;
    }
    Ok(Done::Normally)
}

fn script(shell: Shell) -> String {
    let mut command = shown(&Cli::command());
    let mut generated = Vec::new();
    generate(shell, &mut command, NAME, &mut generated);
    // What clap writes is UTF-8.
    let generated = String::from_utf8_lossy(&generated);
    let input = Words::of(&command);
    match shell {
        Shell::Bash => {
            // clap_complete 4.6 spells a name with a hyphen in two ways.
            let generated = generated.replace("ecs__subcmd__bridge", "ecs__bridge");
            format!("{generated}\n{}", input.put_into(BASH))
        }
        Shell::Zsh => {
            // The functions come first: the last lines run what is defined by then.
            let script = generated.replace(":_hosts' \\\n", ":_ecs-bridge_targets' \\\n");
            script.replacen(
                "autoload -U is-at-least\n",
                &format!("autoload -U is-at-least\n\n{ZSH}"),
                1,
            )
        }
        Shell::Fish => {
            let script = generated.replace("(__fish_print_hostnames)", "(__ecs_bridge_targets)");
            format!("{script}\n{}", input.put_into(FISH))
        }
        _ => generated.into_owned(),
    }
}

/// The same command line without hidden commands.
fn shown(command: &Command) -> Command {
    // clap's own `help` completes the names of commands.
    let subcommands = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments().cloned())
        .subcommands(subcommands.cloned())
}

/// Where a target stands in a command line, for the scripts.
#[derive(Debug, Default)]
struct Words {
    /// Options whose value is the next word, as `command:option`.
    with_value: Vec<String>,
    /// Where a target stands, as `command:option:number of words before`.
    targets: Vec<String>,
    /// Options whose value is a target, as `command:option`.
    options: Vec<String>,
    /// Commands whose words are targets.
    commands: Vec<String>,
}

impl Words {
    fn of(command: &Command) -> Self {
        let mut input = Self::default();
        for option in command.get_opts() {
            input.add("*", option);
        }
        for command in command.get_subcommands() {
            let name = command.get_name();
            for option in command.get_opts().filter(|option| !option.is_global_set()) {
                input.add(name, option);
            }
            let positionals = command.get_positionals().enumerate();
            for (index, word) in positionals.filter(|(_, word)| is_target(word)) {
                let last = word.get_num_args().is_some_and(|count| count.max_values() > 1);
                let index = if last { "*".to_owned() } else { index.to_string() };
                input.targets.push(format!("{name}::{index}"));
                input.commands.push(name.to_owned());
            }
        }
        input
    }

    fn add(&mut self, command: &str, option: &Arg) {
        // Before they are built, options do not say how many values they take.
        if !option.get_action().takes_values() {
            return;
        }
        let long = option.get_long_and_visible_aliases().unwrap_or_default();
        let long = long.into_iter().map(|name| format!("--{name}"));
        let short = option.get_short_and_visible_aliases().unwrap_or_default();
        let short = short.into_iter().map(|name| format!("-{name}"));
        for name in long.chain(short) {
            if is_target(option) {
                self.targets.push(format!("{command}:{name}:*"));
                self.options.push(format!("{command}:{name}"));
            }
            self.with_value.push(format!("{command}:{name}"));
        }
    }

    fn put_into(&self, template: &str) -> String {
        // In fish, patterns are words with quotes; in bash they stand between bars.
        let quoted = |input: &[String]| {
            input.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
        };
        template
            .replace("@WITH_VALUE@", &self.with_value.join("|"))
            .replace("@TARGETS@", &self.targets.join("|"))
            .replace(
                "@OPTIONS@",
                &self.options.iter().map(|word| format!("{word}=*")).collect::<Vec<_>>().join("|"),
            )
            .replace("@QUOTED_WITH_VALUE@", &quoted(&self.with_value))
            .replace("@QUOTED_TARGETS@", &quoted(&self.targets))
            .replace("@COMMANDS@", &self.commands.join(" "))
    }
}

fn is_target(arg: &Arg) -> bool {
    arg.get_value_hint() == ValueHint::Hostname
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_where_targets_stand() {
        let input = Words::of(&shown(&Cli::command()));
        for place in [
            "proxy::0",
            "known-hosts::0",
            "list::*",
            "forward::0",
            "forward:-i:*",
            "forward:--instance:*",
            "send-key:--instance:*",
        ] {
            assert!(input.targets.iter().any(|known| known == place), "{place}: {input:?}");
        }
        for option in ["*:--profile", "proxy:--remote-host", "proxy:--send-key", "forward:-L"] {
            assert!(input.with_value.iter().any(|known| known == option), "{option}: {input:?}");
        }
        for option in ["*:-v", "*:--quiet", "forward:--json"] {
            assert!(!input.with_value.iter().any(|known| known == option), "{option}: {input:?}");
        }
    }

    #[test]
    fn scripts_complete_targets_and_nothing_that_is_hidden() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            assert_eq!(script.matches("complete-targets").count(), 1, "{shell}");
            for place in ["@WITH_VALUE@", "@TARGETS@", "@OPTIONS@", "@COMMANDS@", "@QUOTED_"] {
                assert!(!script.contains(place), "{shell}: {place}");
            }
            assert!(!script.contains(":_hosts'") && !script.contains("__fish_print_hostnames"));
            if shell == Shell::Zsh {
                assert!(script.matches(":_ecs-bridge_targets'").count() >= 6);
            }
        }
    }
}
