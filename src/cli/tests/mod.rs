//! The command line: what it takes, and its help.

use clap::{CommandFactory as _, Parser as _};

use super::help_page::{self, Length};

use super::*;

mod docs;
mod reference;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn each_command_explains_itself_at_length() {
    for command in command().get_subcommands_mut() {
        let long = command.render_long_help().to_string();
        let about = command.get_long_about().expect("more than a line").to_string();
        assert!(about.contains("\n\n") && long.contains("Examples:"), "{long}");
        assert!(long.contains("Exit codes:"), "{long}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let parse = |args: &[&str]| {
        let args = ["ecs-bridge", "proxy"].iter().chain(args).copied();
        Cli::try_parse_from(args).map(|_| ())
    };
    assert!(parse(&["i-a"]).is_ok());
    assert!(parse(&["i-a", "65535", "--ready-delay", "0"]).is_ok());
    for args in [
        &["i-a", "0"][..],
        &["i-a", "65536"],
        &["i-a", "ssh"],
        &["i-a", "--ready-delay", "11"],
        &["i-a", "--ready-delay", "NaN"],
        &["i-a", "--keepalive", "-1"],
        &["i-a", "--connection-type", "vpc"],
    ] {
        assert!(parse(args).is_err(), "{args:?}");
    }
}

#[test]
fn known_hosts_are_added_as_each_system_s_shell_does_it() {
    let command = "  ecs-bridge known-hosts i-bp1example0001";
    let unix = format!("{command} >> ~/.ssh/known_hosts\n");
    let windows =
        format!("{command} |\n    Add-Content -Encoding ascii \"$HOME\\.ssh\\known_hosts\"\n");
    assert!(keys::known_hosts_examples(false).contains(&unix));
    let help = keys::known_hosts_examples(true);
    assert!(help.contains(&windows) && !help.contains(">>"), "{help}");
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
}

#[test]
fn each_short_help_fits_a_screen() {
    fn check(command: clap::Command, path: &str, wrong: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        for width in [80, 100] {
            let help = command.clone().term_width(width).render_help().to_string();
            let lines: Vec<&str> = help.trim_end().lines().collect();
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
            if lines.len() > 24 || widest > width {
                let size = format!("{} lines of at most {widest}", lines.len());
                wrong.push(format!("{path} on {width} columns: {size}\n{help}"));
            }
        }
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            check(command.clone(), &path, wrong);
        }
    }
    let mut wrong = Vec::new();
    check(help_page::command(Length::Short), "", &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_command_is_in_the_short_help() {
    let mut command = help_page::command(Length::Short);
    let help = command.render_help().to_string();
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(help.contains(&format!(" {name}")), "no {name}:\n{help}");
    }
}

#[test]
fn the_examples_come_before_the_options() {
    let command = help_page::command(Length::Long);
    for mut command in command.get_subcommands().filter(|command| !command.is_hide_set()).cloned() {
        let help = command.render_long_help().to_string();
        let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("no {text}:\n{help}"));
        assert!(at("Usage:") < at("Examples:") && at("Examples:") < at("Options:"), "{help}");
        assert!(at("Options:") < at("Exit codes:"), "{help}");
        // The options that every command takes are in the help of ecs-bridge alone.
        assert!(!help.contains("--log-file <FILE>"), "{help}");
    }
    let help = command.clone().render_long_help().to_string();
    assert!(help.contains("--log-file <FILE>"), "{help}");
}

#[test]
fn each_topic_has_a_page() {
    let page =
        |words: &[&str]| help_page(&words.iter().map(|&word| word.into()).collect::<Vec<_>>());
    assert!(page(&["options"]).unwrap().contains("--signature-version"));
    assert!(page(&["credentials"]).unwrap().contains("ALIBABA_CLOUD_CREDENTIALS_URI"));
    assert!(page(&["environment"]).unwrap().contains("ECS_BRIDGE_REGIONS"));
    assert!(page(&["exit-codes"]).unwrap().contains("129, 130, 131, 143"));
    assert!(page(&["configure", "set"]).unwrap().contains("--access-key-id"));
    assert!(page(&[]).unwrap().contains("Usage: ecs-bridge"));
    assert_eq!(page(&["configure", "nosuch"]), Err("nosuch".to_owned()));
}
