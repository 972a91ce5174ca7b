//! Tests of `keys`.

use super::*;

const OWN: &str = "/usr/bin/timeout 5s /usr/local/share/aliyun-assist/plugin/\
                   config_ecs_instance_connect/ecs_config_instance_connect %u %f";
const OTHER: &str = "/usr/bin/sss_ssh_authorizedkeys %u";

#[test]
fn what_sshd_tells_counts() {
    let effective = |value: &str| format!("effective authorizedkeyscommand {value}\n");
    let (own, other, none) = (effective(OWN), effective(OTHER), effective("none"));
    assert_eq!(KeyCommand::of(&own), KeyCommand::Plugin(OWN));
    assert_eq!(KeyCommand::of(&other), KeyCommand::Other(OTHER));
    assert_eq!(KeyCommand::of(&none), KeyCommand::Missing);
    // The plug-in's was added behind one that is included.
    let behind = format!("{other}written AuthorizedKeysCommand {OWN}\n");
    assert_eq!(KeyCommand::of(&behind), KeyCommand::Other(OTHER));
    let in_match = format!("{none}written AuthorizedKeysCommand {OWN}\n");
    assert_eq!(KeyCommand::of(&in_match), KeyCommand::NotForRoot);
    for line in [
        "AuthorizedKeysCommand none",
        "AuthorizedKeysCommandUser nobody",
        "AuthorizedKeysCommand /opt/for/others",
    ] {
        let output = format!("{none}written   {line}\n");
        assert_eq!(KeyCommand::of(&output), KeyCommand::KeptOut(line));
    }
}

#[test]
fn where_sshd_tells_nothing_the_files_are_read_as_it_reads_them() {
    for (output, found) in [
        ("", KeyCommand::Missing),
        ("written AuthorizedKeysCommand", KeyCommand::KeptOut("AuthorizedKeysCommand")),
        ("written \tAuthorizedKeysCommand=\"/opt/a b\"", KeyCommand::Other("/opt/a b")),
        (
            "written AuthorizedKeysCommand = /opt/x\nwritten AuthorizedKeysCommand /opt/y",
            KeyCommand::Other("/opt/x"),
        ),
        (
            "included authorizedkeyscommand /opt/x\nwritten AuthorizedKeysCommand /aliyun",
            KeyCommand::Other("/opt/x"),
        ),
        (
            "written AuthorizedKeysCommandUser root\nwritten AuthorizedKeysCommand /opt/x",
            KeyCommand::Other("/opt/x"),
        ),
    ] {
        assert_eq!(KeyCommand::of(output), found, "{output}");
    }
}

#[test]
fn the_program_of_the_plug_in_is_known_however_it_is_called() {
    for (command, is_its) in [
        (OWN, true),
        ("/usr/bin/ecs_config_instance_connect --uid %U", true),
        ("/usr/local/share/aliyun-assist/plugin/x", true),
        (OTHER, false),
        ("/opt/acs/keys", false),
    ] {
        assert_eq!(is_of_plugin(command), is_its, "{command}");
    }
}
