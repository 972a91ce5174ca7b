//! Names as hosts of `ssh`, with a rule for `*.ecs` and no key taken on trust.

use crate::known_hosts::world;
use crate::world::{INSTANCE, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_comes_in_by_the_name_of_an_instance() {
    let Some((world, _programs)) = world().await else { return };
    // ssh makes small letters of what it is given.
    world.cloud.update_instance(INSTANCE, |instance| instance.name = "Web-1".to_owned());
    let bridge = env!("CARGO_BIN_EXE_ecs-bridge");
    let config = format!(
        "Host *.ecs\n  ProxyCommand {bridge} proxy %h %p\n  \
         KnownHostsCommand {bridge} known-hosts %H\nHost *\n  UserKnownHostsFile /dev/null\n  \
         GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n  \
         IdentityFile {id}\n  LogLevel ERROR\n",
        id = world.path("id").display(),
    );
    std::fs::write(world.path("names_config"), config).unwrap();
    for (host, port) in
        [("Web-1.cn-hangzhou.ecs", "22"), ("web-1.cn-hangzhou.ecs", "2200"), ("WEB-1.ecs", "22")]
    {
        let mut ssh = world.command("ssh");
        ssh.arg("-F").arg(world.path("names_config")).args(["-p", port, host, "echo", "in"]);
        let output = run(&mut ssh).await;
        assert!(output.status.success(), "{host}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{host}");
        assert_eq!(output.stdout, b"in\n");
    }
    let sessions = world.cloud.sessions();
    assert!(sessions.iter().all(|session| session.instance == INSTANCE));
    // Each of the two is looked up once by both programs, in two calls, and asked for its host keys once.
    let calls = world.cloud.calls();
    let count = |action| calls.iter().filter(|call| call.action == action).count();
    assert_eq!((sessions.len(), count("RunCommand")), (3, 1));
    assert!(world.cloud.violations().is_empty(), "{:?}", world.cloud.violations());
    world.check().await;
}
