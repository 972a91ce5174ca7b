//! RAM policies: which actions each use of this program needs.

use clap::ValueEnum;
use serde::Serialize;

use self::Purpose::{Connect, List, SendKey, Start};

/// What a policy is to allow, as `ecs-bridge policy` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// proxy, forward, session and doctor
    // Sessions, and finding out why one does not open.
    Connect,
    /// send-key, known-hosts and --send-key
    // Commands in an instance.
    SendKey,
    /// list
    // Instances by other words than their ids, too.
    List,
    /// proxy, forward and session with --start
    Start,
}

impl Purpose {
    /// The argument of `ecs-bridge policy`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Connect => "connect",
            SendKey => "send-key",
            List => "list",
            Start => "start",
        }
    }

    /// Finds the purpose that an error names if an action is denied.
    pub(super) fn of_action(action: &str) -> Option<Self> {
        let (_, purposes) = ACTIONS.iter().find(|(known, _)| *known == action)?;
        purposes.first().copied()
    }
}

/// Every action that this program calls, and the purposes that need it: first the one that an error
/// names. `DescribeRegions` is not here: it is called without a signature.
const ACTIONS: [(&str, &[Purpose]); 12] = [
    ("ecs:StartTerminalSession", &[Connect, Start]),
    ("ecs:EndTerminalSession", &[Connect, Start]),
    ("ecs:StartInstance", &[Start]),
    ("ecs:RunCommand", &[SendKey]),
    ("ecs:InvokeCommand", &[SendKey]),
    ("ecs:DescribeInvocationResults", &[SendKey]),
    ("ecs:DescribeInstances", &[List, Connect, SendKey, Start]),
    ("ecs:DescribeManagedInstances", &[List, Connect, SendKey, Start]),
    ("ecs:DescribeInstanceStatus", &[Connect, SendKey, Start]),
    ("ecs:DescribeCloudAssistantStatus", &[Connect, SendKey, List, Start]),
    ("ecs:DescribeCloudAssistantSettings", &[Connect, Start]),
    ("ecs:DescribeUserBusinessBehavior", &[Connect, Start]),
];

/// The actions that a policy may limit to commands and instances.
pub(super) const COMMAND_ACTIONS: [&str; 2] = ["ecs:RunCommand", "ecs:InvokeCommand"];
/// Their resources: they need both.
const COMMAND_RESOURCES: [&str; 2] = ["acs:ecs:*:*:command/*", "acs:ecs:*:*:instance/*"];

/// Lists the actions that purposes need, each once.
pub(crate) fn actions(purposes: &[Purpose]) -> Vec<&'static str> {
    let needed = ACTIONS.iter().filter(|(_, of)| of.iter().any(|one| purposes.contains(one)));
    needed.map(|(action, _)| *action).collect()
}

/// A RAM policy. Its JSON is what the RAM console takes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Policy<'a> {
    version: &'static str,
    statement: Vec<Statement<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement<'a> {
    effect: &'static str,
    action: Vec<&'a str>,
    resource: Resource,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Resource {
    All(&'static str),
    Only([&'static str; 2]),
}

impl<'a> Policy<'a> {
    /// Makes the least policy that allows actions.
    pub(crate) fn of(actions: &[&'a str]) -> Self {
        let (commands, others): (Vec<_>, Vec<_>) =
            actions.iter().partition(|action| COMMAND_ACTIONS.contains(action));
        let parts = [(others, Resource::All("*")), (commands, Resource::Only(COMMAND_RESOURCES))];
        let parts = parts.into_iter().filter(|(action, _)| !action.is_empty());
        let statement = parts
            .map(|(action, resource)| Statement { effect: "Allow", action, resource })
            .collect();
        Self { version: "1", statement }
    }

    /// The policy on one line.
    pub(crate) fn compact(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The policy on many lines.
    pub(crate) fn pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_resources_of_their_own() {
        let policy = Policy::of(&["ecs:RunCommand", "ecs:DescribeInstances"]).compact();
        assert_eq!(
            policy,
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["ecs:DescribeInstances"],"Resource":"*"},{"Effect":"Allow","Action":["ecs:RunCommand"],"Resource":["acs:ecs:*:*:command/*","acs:ecs:*:*:instance/*"]}]}"#
        );
        let policy = Policy::of(&["ecs:RunCommand"]).compact();
        assert_eq!(policy.matches("Effect").count(), 1, "{policy}");
    }

    #[test]
    fn the_purpose_of_an_action_needs_it() {
        for (action, _) in ACTIONS {
            let purpose = Purpose::of_action(action).unwrap();
            assert!(actions(&[purpose]).contains(&action), "{action}");
        }
        assert_eq!(Purpose::of_action("sts:AssumeRole"), None);
    }
}
