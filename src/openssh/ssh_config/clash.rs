//! Lines of the user's own configuration that meet the blocks of this program.

use super::marks::is_begin;

/// A line for the same hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// From 1.
    pub(crate) line: usize,
    /// Its keyword, and its value where that is one of a few words.
    pub(crate) text: String,
    pub(crate) effect: Effect,
}

/// What comes of a line: of two, ssh takes the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It stands first, and the line of this program has no effect.
    Wins,
    /// It stands later, and has no effect.
    Loses,
    /// This program has no such line, so it holds.
    Holds,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hosts {
    All,
    Ours,
    Others,
}

/// Finds them in a file with this program's part in it. `keywords` are those that the part sets.
pub(crate) fn clashes(text: &str, keywords: &[&str]) -> Vec<Clash> {
    const WATCHED: [&str; 4] =
        ["ProxyCommand", "ProxyJump", "KnownHostsCommand", "StrictHostKeyChecking"];
    // Without a part, whatever stands there comes before it.
    let (mut is_before, mut hosts, mut found) = (true, Hosts::All, Vec::new());
    for (at, line) in text.lines().enumerate() {
        if is_begin(line) {
            is_before = false;
        }
        let (keyword, value) = keyword(line);
        match keyword.to_ascii_lowercase().as_str() {
            "host" => hosts = of_patterns(value.split_whitespace()),
            "match" => hosts = of_match(value),
            _ => {}
        }
        let watched = WATCHED.iter().find(|name| name.eq_ignore_ascii_case(keyword));
        let Some(name) = watched else { continue };
        let sets = |name: &str| keywords.iter().any(|own| own.eq_ignore_ascii_case(name));
        // ssh takes the first of these two, whichever it is.
        let is_set = sets(name) || *name == "ProxyJump";
        let effect = match (is_before, hosts) {
            (true, Hosts::All | Hosts::Ours) if is_set => Effect::Wins,
            (false, Hosts::Ours) if is_set => Effect::Loses,
            (_, Hosts::Ours) => Effect::Holds,
            _ => continue,
        };
        let text = match *name {
            "StrictHostKeyChecking" => format!("{name} {value}"),
            _ => (*name).to_owned(),
        };
        found.push(Clash { line: at + 1, text, effect });
    }
    found
}

/// A short name for an instance, whose block has no way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShortName {
    /// The line of `HostName`, from 1.
    pub(crate) line: usize,
    /// What is typed.
    pub(crate) alias: String,
    /// What it stands for.
    pub(crate) host: String,
}

/// Finds blocks such as `Host web-1`, `HostName i-1`: ssh compares the patterns of a `Host` line with what was
/// typed, so that those of this program do not hold for them.
pub(crate) fn short_names(text: &str) -> Vec<ShortName> {
    let (mut alias, mut name, mut found) = ("", None, Vec::new());
    let lines = text.lines().chain(["Match all"]).enumerate();
    for (at, line) in lines {
        let (keyword, value) = keyword(line);
        match keyword.to_ascii_lowercase().as_str() {
            keyword @ ("host" | "match") => {
                found.extend(name.take());
                let is_plain = !value.contains(['*', '?', '!', ' ', '\t', ',']);
                alias = value.trim_matches('"');
                if keyword == "match"
                    || !is_plain
                    || of_patterns([alias].into_iter()) == Hosts::Ours
                {
                    alias = "";
                }
            }
            "hostname" if !alias.is_empty() => {
                let host = value.trim_matches('"').to_owned();
                let is_ours = of_patterns([host.as_str()].into_iter()) == Hosts::Ours;
                let short = ShortName { line: at + 1, alias: alias.to_owned(), host };
                name = is_ours.then_some(short);
            }
            // It has a way of its own, whichever line comes first.
            "proxycommand" | "proxyjump" => {
                alias = "";
                name = None;
            }
            _ => {}
        }
    }
    found
}

fn keyword(line: &str) -> (&str, &str) {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, value) = line.split_at(end);
    (keyword, value.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim_end())
}

fn of_patterns<'a>(patterns: impl Iterator<Item = &'a str>) -> Hosts {
    let mut hosts = Hosts::Others;
    for pattern in patterns {
        let pattern = pattern.trim_matches('"').to_ascii_lowercase();
        let is_ours = pattern.starts_with("i-") || pattern.starts_with("mi-");
        if is_ours || pattern.ends_with(".ecs") {
            return Hosts::Ours;
        }
        if pattern == "*" {
            hosts = Hosts::All;
        }
    }
    hosts
}

fn of_match(criteria: &str) -> Hosts {
    let mut words = criteria.split_whitespace();
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_str() {
            "all" => return Hosts::All,
            "host" | "originalhost" => {
                return of_patterns(words.next().unwrap_or_default().split(','));
            }
            _ => {}
        }
    }
    // Whom it holds for shows only when it is run.
    Hosts::Others
}

#[cfg(test)]
mod tests {
    use super::super::marks;
    use super::*;

    #[test]
    fn a_short_name_without_a_way_to_its_instance_is_found() {
        let text = "Host web\n  User root\n  HostName i-1\nHost db\n  hostname \"db.ecs\"\n";
        let found: Vec<_> =
            short_names(text).into_iter().map(|s| (s.line, s.alias, s.host)).collect();
        let expected = [(3, "web", "i-1"), (5, "db", "db.ecs")];
        assert_eq!(found, expected.map(|(line, alias, host)| (line, alias.into(), host.into())));
        for other in [
            "Host web\n  HostName web.example.com\n",
            "Host web\n  HostName i-1\n  ProxyCommand x\n",
            "Host web\n  ProxyJump x\n  HostName i-1\n",
            "Host web.ecs\n  HostName i-1\n",
            "Host i-*\n  HostName i-1\n",
            "Match host web\n  HostName i-1\n",
            "HostName i-1\n",
            "# Host web\n",
        ] {
            assert_eq!(short_names(other), [], "{other}");
        }
    }

    fn found(before: &str, after: &str, keywords: &[&str]) -> Vec<(usize, String, Effect)> {
        let part = String::from_utf8(marks::put(Some(b""), "Include x").unwrap()).unwrap();
        let text = format!("{before}{part}{after}");
        let all = clashes(&text, keywords).into_iter();
        all.map(|clash| (clash.line, clash.text, clash.effect)).collect()
    }

    #[test]
    fn lines_for_the_same_hosts_are_found_and_others_are_not() {
        const PLAIN: [&str; 1] = ["ProxyCommand"];
        let block = "Match host i-*,mi-*,*.ecs\n  ProxyCommand x\n  StrictHostKeyChecking yes\n";
        assert_eq!(
            found("", block, &PLAIN),
            [
                (5, "ProxyCommand".to_owned(), Effect::Loses),
                (6, "StrictHostKeyChecking yes".to_owned(), Effect::Holds),
            ]
        );
        let strict = ["ProxyCommand", "StrictHostKeyChecking"];
        assert_eq!(found("", block, &strict)[1].2, Effect::Loses);
        assert_eq!(
            found("proxycommand=x\n", "", &PLAIN),
            [(1, "ProxyCommand".to_owned(), Effect::Wins)]
        );
        for other in [
            "# Host i-*\n# ProxyCommand x\n",
            "Host web\n  ProxyCommand x\n",
            "Host *\n  ProxyJump x\n  StrictHostKeyChecking no\n",
            "Host i-*\n  User me\n",
            "Match exec true\n  ProxyCommand x\n",
        ] {
            assert_eq!(found("", other, &strict), [], "{other}");
        }
        assert_eq!(found("", "Host \"web-1.ecs\"\n\tProxyJump x\n", &PLAIN).len(), 1);
    }
}
