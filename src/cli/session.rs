//! The command line of sessions: types only.

use clap::{Args, ValueEnum};

use super::values::whole;

/// The seconds of `--ready-delay`, unless it is given.
pub(crate) const READY_DELAY: f64 = 1.5;

/// Options of opening a session.
#[derive(Args, Clone, Debug)]
pub(crate) struct Opening {
    /// Reach the gateway over the internet or from inside the VPC [default: the service's choice]
    #[arg(long, hide_short_help = true, value_name = "TYPE", env = "ECS_BRIDGE_CONNECTION_TYPE")]
    pub connection_type: Option<ConnectionType>,

    /// Wait at most this many seconds for a session while the quota is full; 0 = fail at once
    ///
    /// The service allows 20 connected sessions for each instance and 100 active ones in a region,
    /// those of other programs and people included.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        env = "ECS_BRIDGE_WAIT",
        default_value_t = 60,
        value_parser = whole::<u64>(0, 86_400)
    )]
    pub wait: u64,
}

/// Options of sessions to a port.
#[derive(Args, Debug)]
pub(crate) struct Session {
    /// How it is opened.
    #[command(flatten)]
    pub opening: Opening,

    /// Send a keepalive after this many seconds without outgoing data; 0 = never [default: 50, as far
    /// as the agent allows]
    ///
    /// The agent ends a session after 180 seconds without a frame from ecs-bridge. Agents before version
    /// 4.1065 do not report that the target has closed the connection, and a keepalive can make them
    /// connect to it again. Agents from 3.632 to 4.1064 get a keepalive that does not make them connect.
    /// Unless this option is given, agents up to 3.631 get keepalives only for SSH and during downloads:
    /// their other idle sessions end after 180 seconds, and the connection is closed.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        env = "ECS_BRIDGE_KEEPALIVE",
        value_parser = whole::<u64>(0, 86_400)
    )]
    pub keepalive: Option<u64>,

    /// End the session after this many seconds without data in either direction; 0 = never
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        env = "ECS_BRIDGE_IDLE_TIMEOUT",
        default_value_t = 0,
        value_parser = whole::<u64>(0, 31_536_000)
    )]
    pub idle_timeout: u64,

    /// Wait this many seconds (0 to 10) before sending data when the server does not send first; older
    /// agents lose data sent earlier
    ///
    /// The wait begins when the agent has joined. Agents up to version 3.630 lose data that arrives
    /// before they have connected to the port, one second after joining. From 3.631 on they keep it,
    /// and data is sent at once. Without the permission ecs:DescribeCloudAssistantStatus the version is
    /// not known, and this wait applies.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        env = "ECS_BRIDGE_READY_DELAY",
        default_value_t = READY_DELAY,
        value_parser = ready_delay
    )]
    pub ready_delay: f64,

    /// Keep receiving after end of file on stdin (or of the client) until no data has arrived for this
    /// many seconds; 0 = do not wait
    ///
    /// Raise it for servers that answer late, for example to a request of `printf … | ecs-bridge proxy`.
    /// Interactive ssh does not need it.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        env = "ECS_BRIDGE_LINGER",
        default_value_t = 10,
        value_parser = whole::<u64>(0, 86_400)
    )]
    pub linger: u64,
}

/// How to reach the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConnectionType {
    /// Over the internet
    Internet,
    /// From inside the VPC
    Intranet,
}

fn ready_delay(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=10.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds from 0 to 10, such as 1.5".to_owned()),
    }
}
