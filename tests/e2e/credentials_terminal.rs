//! A program that prints credentials, and asks for a code on the terminal first.

use std::os::unix::fs::PermissionsExt as _;

use local_cloud::{LocalCloud, Pace};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::lab::{Bridge, Lab};
use crate::profiles::{KEYS, cloud, file, instance, one, without_keys, write};
use crate::terminal::{Streams, Terminal, by};
use crate::world::{INSTANCE, PATIENCE, Server, World};

/// As a helper for a second factor does it: what is typed is not shown.
fn script() -> String {
    format!(
        "exec 3<>/dev/tty || exit 9\nstty -echo <&3\nprintf 'code: ' >&3\nread code <&3\nstty echo <&3\n\
         [ \"$code\" = 123456 ] || exit 1\necho '{{{KEYS}}}'\n"
    )
}

async fn lab() -> Lab {
    let lab = Lab::with(cloud(), instance()).await;
    file(&lab, "script", &script());
    write(&lab, &one("External", r#""process_command": "sh DIR/script""#));
    lab
}

async fn code(child: &mut Child) -> Option<i32> {
    timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap().code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_asks_on_the_terminal_and_gets_what_is_typed() {
    let lab = lab().await;
    let mut terminal = Terminal::new();
    let mut command = lab.bridge(["list"]);
    let mut list = terminal.start(without_keys(&mut command), Streams::All);
    terminal.shows("code: ").await;
    terminal.types(b"123456\n").await;
    terminal.shows(INSTANCE).await;
    assert_eq!(code(&mut list).await, Some(0), "{}", terminal.shown());
    assert!(!terminal.shown().contains("123456"), "{}", terminal.shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_program_that_asks_and_leaves_the_terminal_as_it_was() {
    let lab = lab().await;
    for args in [&["list"][..], &["forward", "-i", INSTANCE, "--local-port", "0"]] {
        let mut terminal = Terminal::new();
        let mut bridge = terminal.start(without_keys(&mut lab.bridge(args)), Streams::All);
        terminal.shows("code: ").await;
        assert!(!terminal.echoes(), "{args:?}");
        terminal.types(b"\x03").await;
        assert_eq!(code(&mut bridge).await, Some(130), "{args:?} {}", terminal.shown());
        assert!(terminal.echoes(), "{args:?}");
    }
    assert!(lab.cloud.calls().is_empty());
}

/// Under ssh the ProxyCommand leaves the terminal only once the program has asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_asks_on_the_terminal_of_ssh() {
    let instance = instance().pace(Pace::announced(64_000_000));
    let world = World::in_cloud(Server::InProcess, LocalCloud::builder(), instance).await.unwrap();
    std::fs::write(world.path("script"), script()).unwrap();
    let config = world.path(".aliyun/config.json");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let command = format!(r#""process_command": "sh {}""#, world.path("script").display());
    let profiles = format!(r#"{{"current": "p", "profiles": [{}]}}"#, one("External", &command));
    std::fs::write(&config, profiles).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();

    let mut terminal = Terminal::new();
    let mut command: Command = world.openssh("ssh");
    command.args([INSTANCE, "echo the command has run"]);
    let mut ssh = terminal.start(without_keys(&mut command), Streams::All);
    terminal.shows("code: ").await;
    terminal.types(b"123456\n").await;
    terminal.shows("the command has run").await;
    assert_eq!(code(&mut ssh).await, Some(0), "{}", terminal.shown());
    assert_eq!(terminal.shown().matches("code: ").count(), 1, "{}", terminal.shown());
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_the_program_cannot_ask_and_that_is_told_at_once() {
    let lab = lab().await;
    let mut command = lab.bridge(["proxy", INSTANCE]);
    let mut alone = by(&["setsid", "--wait"], without_keys(&mut command));
    let ended = Bridge::start_as_it_is(&mut alone).end().await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("/dev/tty"), "{}", ended.stderr);
    assert!(ended.took.as_secs() < 30, "{:?}", ended.took);
}
