//! The blocks that lead OpenSSH's connections to instances through this program.

use super::absolute::to_git;
use super::quote::{identity_word, known_hosts_command, proxy_token, proxy_word};

/// What the blocks are to be like.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// The program, and the options that stand before its subcommand.
    pub(crate) program: Vec<String>,
    /// Whether a public key is registered with each login; and which, if it is not the usual one.
    pub(crate) send_key: Option<Option<String>>,
    /// How far ssh knows `KnownHostsCommand`.
    pub(crate) host_keys: HostKeys,
    /// The options of `proxy` alone.
    pub(crate) proxy_options: Vec<String>,
    /// The options of every subcommand that looks for an instance.
    pub(crate) look_up: Vec<String>,
    pub(crate) control_master: bool,
    /// Whether ssh is Git's on Windows, to which a path that begins with a drive is not absolute.
    pub(crate) is_git_ssh: bool,
    /// Hosts by name, for programs that list hosts.
    pub(crate) hosts: Vec<String>,
}

/// How the host keys of instances are checked when a public key is registered with each login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostKeys {
    /// By `KnownHostsCommand`, which ssh has had since OpenSSH 8.5.
    #[default]
    ByCommand,
    /// By `KnownHostsCommand` once ssh is new enough; until then it is told to skip the line.
    Guarded,
    /// Not at all: a line that ssh does not know would stop every ssh of this machine.
    Unchecked,
}

impl Blocks {
    /// As the configuration has them.
    pub(crate) fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for host in &self.hosts {
            text.push_str(&format!("Host {host}\n"));
        }
        if !self.hosts.is_empty() {
            text.push('\n');
        }
        match &self.send_key {
            Some(key) => {
                if self.host_keys == HostKeys::Guarded {
                    // Within a block it would hold for the hosts of that block only.
                    text.push_str("IgnoreUnknown KnownHostsCommand\n\n");
                }
                // Managed instances know no such keys.
                text.push_str("Host *.ecs i-* !mi-*\n");
                text.push_str(&self.proxy_command(Some(key.as_deref())));
                if self.host_keys != HostKeys::Unchecked {
                    let words = [&self.program[..], &["known-hosts".to_owned()], &self.look_up];
                    let mut words = words.concat();
                    if let Some(program) = words.first_mut().filter(|_| self.is_git_ssh) {
                        *program = to_git(program);
                    }
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    let command = known_hosts_command(&words, "%H");
                    text.push_str(&format!("    KnownHostsCommand {command}\n"));
                }
                if self.host_keys == HostKeys::ByCommand {
                    // Where nothing tells ssh the key, nobody could log in.
                    text.push_str("    StrictHostKeyChecking yes\n");
                }
                if let Some(key) = key {
                    // ssh finds the public half beside it, and the private one in the agent, too.
                    let private = identity_word(key.strip_suffix(".pub").unwrap_or(key));
                    text.push_str(&format!("    IdentityFile {private}\n    IdentitiesOnly yes\n"));
                }
                text.push_str("\nHost mi-*\n");
                text.push_str(&self.proxy_command(None));
                text.push_str("\nHost *.ecs i-* mi-*\n");
            }
            None => {
                text.push_str("Host *.ecs i-* mi-*\n");
                text.push_str(&self.proxy_command(None));
            }
        }
        text.push_str("    ServerAliveInterval 30\n    ServerAliveCountMax 3\n");
        if self.control_master {
            text.push_str(
                "    ControlMaster auto\n    ControlPath ~/.ssh/ecs-%C\n    ControlPersist 10m\n",
            );
        }
        text
    }

    /// The line of `ProxyCommand` for one host.
    pub(crate) fn proxy_command_for(&self, host: &str) -> String {
        let is_managed = host.starts_with("mi-");
        self.proxy_command(self.send_key.as_ref().filter(|_| !is_managed).map(Option::as_deref))
    }

    fn proxy_command(&self, send_key: Option<Option<&str>>) -> String {
        let mut words: Vec<String> = self.program.iter().map(|word| proxy_word(word)).collect();
        words.push("proxy".to_owned());
        if let Some(key) = send_key {
            words.push("--send-key".to_owned());
            words.extend(key.map(proxy_word));
            words.extend(["--user".to_owned(), proxy_token("%r")]);
        }
        let options = self.proxy_options.iter().chain(&self.look_up);
        words.extend(options.map(|word| proxy_word(word)));
        words.extend([proxy_token("%h"), "%p".to_owned()]);
        format!("    ProxyCommand {}\n", words.join(" "))
    }
}

const HEAD: &str = "\
# Instances of Alibaba Cloud through ecs-bridge, by id or by name:
#   ssh root@i-bp1example0001    ssh root@web-1.ecs    ssh root@web-1.cn-beijing.ecs
# VS Code lists no patterns: enter such a name in its \"Connect to Host…\", or have hosts listed with
# ecs-bridge ssh-config --write --host web-1.ecs, and give it time for the first connection:
#   \"remote.SSH.connectTimeout\": 60
# No reason given when a connection fails? ecs-bridge log --last

";

/// The options of `ssh-config` that a text was made with, each with its value.
pub(crate) fn options(lines: &[String]) -> Vec<String> {
    let body = |line: &String, keyword| line.trim().strip_prefix(keyword).map(str::to_owned);
    let mut options = Vec::new();
    let command = lines.iter().find_map(|line| body(line, "ProxyCommand ")).unwrap_or_default();
    let mut words = command.split(' ').peekable();
    while let Some(word) = words.next() {
        // The user is a token, and no option of ssh-config's.
        if word.starts_with("--") && word != "--user" {
            let is_value = |next: &&str| !next.starts_with(['-', '%', '\'']) && *next != "proxy";
            let value = words.next_if(is_value);
            options.push(value.map_or_else(|| word.to_owned(), |value| format!("{word} {value}")));
        }
    }
    if lines.iter().any(|line| line.trim().starts_with("ControlMaster ")) {
        options.push("--control-master".to_owned());
    }
    let hosts = lines.iter().filter_map(|line| body(line, "Host ")).filter(|host| is_host(host));
    options.extend(hosts.map(|host| format!("--host {host}")));
    options
}

/// The options of a former text that a new one is made without.
pub(crate) fn dropped(old: &[String], new: &str) -> Vec<String> {
    let new: Vec<String> = new.lines().map(str::to_owned).collect();
    let new = options(&new);
    let name = |option: &str| match option.starts_with("--host ") {
        true => option.to_owned(),
        false => option.split(' ').next().unwrap_or_default().to_owned(),
    };
    let is_kept = |option: &String| new.iter().any(|other| name(other) == name(option));
    options(old).into_iter().filter(|option| !is_kept(option)).collect()
}

/// Whether a name is of the hosts that the blocks are for, and can stand there as it is.
pub(crate) fn is_host(name: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"*?!,\"'\\#%$=".contains(c);
    let is_ours = name.starts_with("i-")
        || name.starts_with("mi-")
        || name.strip_suffix(".ecs").is_some_and(|name| !name.is_empty());
    is_ours && name.chars().all(is_plain)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_where_it_belongs() {
        let program = vec!["/opt/ecs bridge".to_owned(), "--region".to_owned(), "cn-x".to_owned()];
        let plain = Blocks { program: program.clone(), ..Blocks::default() };
        let text = plain.text();
        let command = "    ProxyCommand /opt/ecs\\ bridge --region cn-x proxy '%h' %p\n";
        assert!(text.contains(&format!("Host *.ecs i-* mi-*\n{command}")), "{text}");
        assert!(!text.contains("KnownHosts") && !text.contains("Control"), "{text}");

        let all = Blocks {
            program,
            send_key: Some(Some("/k.pub".to_owned())),
            control_master: true,
            hosts: vec!["web-1.ecs".to_owned()],
            proxy_options: vec!["--start".to_owned()],
            look_up: vec!["--regions".to_owned(), "cn-x,cn-y".to_owned()],
            ..Blocks::default()
        };
        let text = all.text();
        for part in [
            "\nHost web-1.ecs\n\n",
            "proxy --send-key /k.pub --user '%r' --start --regions cn-x,cn-y '%h' %p\n",
            "bridge\" --region cn-x known-hosts --regions cn-x,cn-y %H\n",
            "    IdentityFile /k\n    IdentitiesOnly yes\n",
            "Host mi-*\n    ProxyCommand /opt/ecs\\ bridge --region cn-x proxy --start --regions",
            "ControlMaster auto\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let options = [
            "--region cn-x",
            "--send-key /k.pub",
            "--start",
            "--regions cn-x,cn-y",
            "--control-master",
        ];
        assert_eq!(super::options(&lines)[..5], options);
        let new = Blocks { hosts: vec!["i-2".to_owned()], ..plain }.text();
        assert_eq!(dropped(&lines, &new), [&options[1..], &["--host web-1.ecs"]].concat());
        assert!(dropped(&lines, &text).is_empty());
    }

    #[test]
    fn an_old_ssh_is_given_no_line_that_it_does_not_know() {
        let with = |host_keys| {
            let program = vec!["/b".to_owned()];
            Blocks { program, send_key: Some(None), host_keys, ..Blocks::default() }.text()
        };
        let guarded = with(HostKeys::Guarded);
        let at = |text: &str| guarded.find(text).unwrap();
        assert!(at("IgnoreUnknown KnownHostsCommand\n") < at("\nHost "), "{guarded}");
        assert!(guarded.contains("    KnownHostsCommand /b known-hosts %H\n"), "{guarded}");
        let unchecked = with(HostKeys::Unchecked);
        assert!(!unchecked.contains("KnownHostsCommand"), "{unchecked}");
        for text in [guarded, unchecked] {
            assert!(!text.contains("StrictHostKeyChecking"), "{text}");
        }
    }

    #[test]
    fn git_s_ssh_on_windows_is_given_a_path_that_is_absolute_to_it() {
        let with = |is_git_ssh| {
            let program = vec!["C:/bin/b.exe".to_owned()];
            Blocks { program, send_key: Some(None), is_git_ssh, ..Blocks::default() }.text()
        };
        let git = with(true);
        assert!(git.contains("    KnownHostsCommand /c/bin/b.exe known-hosts %H\n"), "{git}");
        // A shell runs it, or Windows itself.
        assert!(git.contains("    ProxyCommand C:/bin/b.exe proxy "), "{git}");
        let other = with(false);
        assert!(other.contains("    KnownHostsCommand C:/bin/b.exe known-hosts %H\n"), "{other}");
    }

    #[test]
    fn hosts_that_the_patterns_do_not_cover_are_none() {
        for host in ["web-1.ecs", "i-bp1", "mi-hz01", "测试.cn-beijing.ecs"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["web-1", ".ecs", "*.ecs", "a b.ecs", "i-x y", "!i-x", "i-x\ny", "i-\"", ""] {
            assert!(!is_host(host), "{host}");
        }
    }
}
