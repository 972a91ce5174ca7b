use clap::CommandFactory as _;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn each_command_explains_itself_at_length() {
    for command in Cli::command().get_subcommands_mut() {
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
