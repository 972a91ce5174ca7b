//! The blocks that lead OpenSSH's connections to instances through this program.

use super::quote::{known_hosts_command, proxy_token, proxy_word};

/// What the blocks are to be like.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// The program, and the options that stand before its subcommand.
    pub(crate) program: Vec<String>,
    /// Whether a public key is registered with each login; and which, if it is not the usual one.
    pub(crate) send_key: Option<Option<String>>,
    pub(crate) control_master: bool,
    /// Hosts by name, for programs that list hosts.
    pub(crate) hosts: Vec<String>,
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
                // Managed instances know no such keys.
                text.push_str("Host *.ecs i-* !mi-*\n");
                text.push_str(&self.proxy_command(Some(key.as_deref())));
                let words: Vec<&str> = self.program.iter().map(String::as_str).collect();
                let words = [&words[..], &["known-hosts"]].concat();
                let command = known_hosts_command(&words, "%H");
                text.push_str(&format!("    KnownHostsCommand {command}\n"));
                text.push_str("    StrictHostKeyChecking yes\n\nHost mi-*\n");
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

    fn proxy_command(&self, send_key: Option<Option<&str>>) -> String {
        let mut words: Vec<String> = self.program.iter().map(|word| proxy_word(word)).collect();
        words.push("proxy".to_owned());
        if let Some(key) = send_key {
            words.push("--send-key".to_owned());
            words.extend(key.map(proxy_word));
            words.extend(["--user".to_owned(), proxy_token("%r")]);
        }
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
        };
        let text = all.text();
        for part in [
            "\nHost web-1.ecs\n\n",
            "proxy --send-key /k.pub --user '%r' '%h' %p\n",
            "    KnownHostsCommand \"/opt/ecs bridge\" --region cn-x known-hosts %H\n",
            "Host mi-*\n    ProxyCommand /opt/ecs\\ bridge --region cn-x proxy '%h' %p\n",
            "ControlMaster auto\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
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
