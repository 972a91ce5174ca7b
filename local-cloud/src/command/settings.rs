//! How an instance takes commands.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{CommandFault, Sshd};
use crate::instance::Instance;

/// The system of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Os {
    /// With a shell, and an sshd that may ask for keys.
    #[default]
    Linux,
    /// Without: shell scripts, and the command that sends a key, end as `Invalid`, `CommandNotApplicable`.
    Windows,
}

impl Os {
    /// As OSType has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Windows => "Windows",
        }
    }
}

/// The plug-in for temporary keys, `config_ecs_instance_connect`, without which nobody asks for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyPlugin {
    /// Not there, but can be installed.
    #[default]
    Missing,
    /// There. Installing it again is fine.
    Installed,
    /// Not there, and its installation ends so.
    Broken {
        /// The exit code of `acs-plugin-manager`.
        exit_code: i32,
        /// What it writes.
        output: String,
    },
}

impl KeyPlugin {
    /// One whose installation ends so.
    pub fn broken(exit_code: i32, output: impl Into<String>) -> Self {
        Self::Broken { exit_code, output: output.into() }
    }
}

/// How an instance takes commands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commands {
    /// The plug-in for temporary keys.
    pub key_plugin: KeyPlugin,
    /// The real sshd that installing it configures and restarts.
    pub sshd: Option<Sshd>,
    /// From the call to the command's end. It is Pending for the first half of it, and Running for the second.
    pub time: Duration,
    /// For so many asks DescribeInvocationResults does not know of a new invocation.
    pub results_empty: u32,
    /// Whether scripts are executed on this machine, and with which programs before all others.
    pub shell: Option<PathBuf>,
    /// How long a command may run, if its Timeout would let it run longer.
    pub script_timeout: Option<Duration>,
    /// What goes wrong.
    pub faults: Vec<CommandFault>,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            key_plugin: KeyPlugin::Missing,
            sshd: None,
            time: Duration::from_millis(20),
            results_empty: 1,
            shell: None,
            script_timeout: None,
            faults: Vec::new(),
        }
    }
}

impl Instance {
    /// Its system ([`Os::Linux`]).
    #[must_use]
    pub fn os(mut self, os: Os) -> Self {
        self.os = os;
        self
    }

    /// The plug-in for temporary keys ([`KeyPlugin::Missing`]).
    #[must_use]
    pub fn key_plugin(mut self, plugin: KeyPlugin) -> Self {
        self.commands.key_plugin = plugin;
        self
    }

    /// How long a command takes, from the call to its end (20 ms).
    #[must_use]
    pub fn command_time(mut self, time: Duration) -> Self {
        self.commands.time = time;
        self
    }

    /// For how many asks DescribeInvocationResults does not know of a new invocation (1).
    #[must_use]
    pub fn results_empty(mut self, asks: u32) -> Self {
        self.commands.results_empty = asks;
        self
    }

    /// Executes the scripts of RunCommand, which end as in a system without a shell otherwise (exit code 127).
    ///
    /// They are executed **on this machine, by `/bin/sh`, as whoever runs the cloud**, with the programs in `programs` before
    /// those of the system: a test puts an `sshd` there that finds its own configuration, or an `id` that says `root`. Of the
    /// environment there is nothing but PATH, HOME and TMPDIR, these two a fresh folder in which the script starts, and
    /// which is gone when it ends, as is all that it has started in its process group. A first line with `#!` is not heeded.
    ///
    /// Whoever has an access key may run what they like, so a cloud that does not listen on loopback refuses to
    /// start with such an instance, and does not execute anything on one that comes later.
    #[must_use]
    pub fn shell(mut self, programs: impl AsRef<Path>) -> Self {
        let programs = programs.as_ref();
        let absolute = std::path::absolute(programs);
        self.commands.shell = Some(absolute.unwrap_or_else(|_| programs.to_owned()));
        self
    }

    /// How long a command may run, a script above all, even if its Timeout, which is 10 s or more, would let it run longer.
    #[must_use]
    pub fn script_timeout(mut self, timeout: Duration) -> Self {
        self.commands.script_timeout = Some(timeout);
        self
    }

    /// Something that goes wrong with its commands.
    #[must_use]
    pub fn command_fault(mut self, fault: CommandFault) -> Self {
        self.commands.faults.push(fault);
        self
    }
}
