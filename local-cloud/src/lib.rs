//! A stand-in for the remote side of ecs-bridge: the OpenAPI with both its signatures, the Session Manager's gateway, and agents of
//! each generation on instances whose ports are listeners of this machine, and which take Cloud Assistant's commands. With faults
//! on command, and a record of all that it saw.
//!
//! It shares no code with the client, on purpose: a mistake made once would otherwise pass on both sides.
//!
//! ```
//! use std::time::Duration;
//! use local_cloud::{Action, Agent, ApiFault, Fault, Instance, LocalCloud, Point};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any local listener plays port 22 of the instance.
//! let sshd = TcpListener::bind("127.0.0.1:0").await?;
//! let cloud = LocalCloud::builder()
//!     .instance(Instance::new("i-example").target(22, sshd.local_addr()?).agent(Agent::a()))
//!     .start()
//!     .await?;
//!
//! // The first two calls are throttled, and each connection breaks after 10,000 bytes of the target's.
//! cloud.faults().api(ApiFault::on_any().error(400, "Throttling", "slow down").times(2));
//! cloud.faults().stream("i-example", Fault::new(Point::OutputBytes(10_000), Action::Cut));
//!
//! // A client of it finds it here:
//! assert!(cloud.endpoint().starts_with("http://127.0.0.1:"));
//! assert_eq!(cloud.env()[0], ("ALIBABA_CLOUD_ENDPOINT", cloud.endpoint()));
//!
//! // …and what it did can be waited for.
//! let ended = cloud.wait_for_session(|s| s.ended_by_api, Duration::from_millis(10)).await;
//! assert!(ended.is_err(), "nobody called");
//! # Ok(())
//! # }
//! ```
//!
//! # Agents and gateways
//!
//! [`Generation`] has a table of what agents do, by the version that DescribeCloudAssistantStatus reports. Gateways differ too:
//! [`Instance::pongs`] is whether they answer WebSocket pings, and [`LocalCloud::pongs`] and [`Action::Pongs`] switch that while a
//! session lives; [`Action::StallClientFor`] stops reading the client and goes on later; [`Instance::silent_close`] closes a
//! WebSocket on which the client sends nothing; [`Instance::answers_close`] leaves a client's close unanswered. The API goes black
//! with [`ApiFault::silent`] and [`ApiFault::after`]; with [`ApiFault::dead_connections`] only the connections that are there.
//!
//! # Shells
//!
//! A session without a port gets `bash` on a terminal, or the program of CommandLine, as this machine's user: [`Shells`] has the
//! users that Username may name, and how long an agent takes. Agents treat what comes before the terminal, and tell of failures,
//! as their generation does; output keeps the pace of the session, and is not 8-bit clean.
//!
//! # Commands and temporary keys
//!
//! RunCommand and InvokeCommand are taken as strictly as signatures are, and DescribeInvocationResults answers as if the command
//! was on its way through an instance: at first not at all ([`Instance::results_empty`]), then `Pending`, `Running`, and after
//! [`Instance::command_time`] its [`Ending`]. Three sorts of commands are told apart ([`CommandKind`]):
//!
//! - The script that installs the plug-in for temporary keys ([`INSTALL_COMMAND`]) is known and never executed; it does as
//!   [`Instance::key_plugin`] says.
//! - The vendor's command that sends a key ([`SEND_KEY_COMMAND`]) registers it for a user of the instance, for
//!   [`Builder::key_lifetime`].
//! - Any other script ends as on a system without a shell, with exit code 127, unless the instance was given one:
//!   [`Instance::shell`] executes it on this machine.
//!
//! A command cannot be sent to an instance that does not run, or whose agent is away: `Aborted`, with the ErrorCode
//! `InstanceNotRunning` or `ClientNotOnline`. On a Windows instance all of them are `Invalid`, `CommandNotApplicable`.
//! [`CommandFault`] makes them end in any other way, or never.
//!
//! A real sshd can play the instance's: [`LocalCloud::authorized_keys_url`] is what the plug-in would have its
//! AuthorizedKeysCommand ask.
//!
//! ```text
//! AuthorizedKeysCommand /usr/bin/curl -sf http://127.0.0.1:1234/authorized-keys?instance=i-example&user=%u
//! AuthorizedKeysCommandUser nobody
//! ```
//!
//! With [`Instance::sshd`] it gets these lines, and is restarted, when the plug-in is installed.
//!
//! It is given the keys that are registered at that moment, if the plug-in was installed. What was asked, invoked and polled, and
//! when, is in [`LocalCloud::invocations`], [`LocalCloud::keys`] and [`LocalCloud::key_queries`]; a private key that comes in
//! any parameter of any call is in [`LocalCloud::violations`].

//!
//! # Temporary keys
//!
//! The same endpoint is that of STS: AssumeRole, signed either way, and AssumeRoleWithOIDC, which nobody signs, for the roles that
//! [`Builder::role`] has made. It is a metadata service too, under `/latest/`, with tokens or without ([`Metadata`]), and there
//! is a credentials URI, [`LocalCloud::credentials_uri`]. All of them hand out keys that the API takes until they end, and each
//! time other ones. [`Lifetime`] has two ends, the one that is told and the real one, so that a client's renewal can be seen
//! without waiting: keys with 181 s to go are due after one second for a client that renews them 180 s before their end.
//! CloudSSO's and OAuth's services are there as well, for people who have signed in ([`Logins`]).
//! [`SourceFault`] makes the metadata service, the URI and the logins fail, and [`ApiFault`] STS. What was asked is in
//! [`LocalCloud::calls`] and [`LocalCloud::sources`].
//!
//! ```
//! use std::time::Duration;
//! use local_cloud::{Lifetime, LocalCloud, Metadata, Role, SourceFault, SourcePart};
//!
//! let role = Role::new("acs:ram::1234567890:role/ops")
//!     .oidc_token("acs:ram::1234567890:oidc-provider/ci", "a.token")
//!     // To be renewed after a second, and over after two.
//!     .lifetime(Lifetime::new(Duration::from_secs(181)).but_really(Duration::from_secs(2)));
//! let cloud = LocalCloud::builder()
//!     .role(role)
//!     .metadata(Metadata::new().role("EcsRole"))
//!     .source_fault(SourceFault::on(SourcePart::Uri).redirect(302, "http://elsewhere.example/").times(1));
//! # let _ = cloud;
//! ```
//!
//! # Streams that outlive their WebSocket
//!
//! [`Agent::resumable`] speaks 1.02. All its frames carry the channel's id and both sequences: Outputs count from 1, and
//! each frame acknowledges the last Input (or Resize) before which none is missing. Duplicates are dropped; at a gap the agent
//! sends Sync, and asks again each second until it has what it misses. Outputs are kept until the client acknowledges them, up
//! to [`Resumption::keeps`] bytes; then the target is not read any further. A client's Sync brings all Outputs behind the one
//! that it acknowledges; if one of those is no longer kept, the session ends with Status 5, `ProcessDataError`.
//!
//! The same URL with `&channelId=` and that id takes the stream up again, for [`Resumption::grace`] after the last WebSocket
//! was lost. What cannot be known of the real service was decided in favour of clients, and [`Resumption`] switches it where
//! the other way is plausible as well:
//!
//! - Without `channelId`, or with an empty one, there is a new stream, as in 1.01. With one that is unknown or over, or whose
//!   agent does not resume, the upgrade is refused with 403. An expired URL takes up what lives. Quotas are not looked at.
//! - A new WebSocket takes the place of one that is still there, which is dropped without a word.
//! - Initial, Opening and Opened are told again, as far as it has come to that; and the limit, if it was announced.
//! - On a new WebSocket, Outputs wait for the client's Sync, which has to come first. If its `input sequence` says that Inputs
//!   were sent which have not come, the agent asks for them at once.
//! - An agent's Sync names the first Input that it wants, in `input sequence`.
//! - A WebSocket close with 1000 or 1008, from either side, is final; whatever else ends a WebSocket is not.
//! - When the target has closed, the stream ends once the client has been sent all that came before, and has read it: it
//!   answers the close of the WebSocket, or closes by itself. If the WebSocket breaks instead, the rest can be fetched on another one.
//! - Frames of 1.01 that come before the client can have read that it is 1.02 are taken in order, and not acknowledged. Its first
//!   number may be 1, or go on behind them.
//!
//! There are faults for all of this: [`Point::EveryOutputBytes`] and [`Point::EveryInputBytes`] cut again and again,
//! [`Faults::inject`] now and [`Faults::inject_in`] in a while; [`Restart`] is a gateway that says so (Frozen), closes and is
//! back; [`FrameFault`] loses, repeats, swaps, delays and damages single frames of either direction, in 1.01 as well;
//! [`Action::Vanish`] leaves a connection half-open. [`SessionRecord`] has what was seen: sockets and why each ended, Syncs of both
//! sides, duplicates, gaps, what was sent again and acknowledged.
//!
//! ```
//! use std::time::Duration;
//! use local_cloud::{Action, Agent, Fault, FrameFault, Instance, Corruption, Point, Restart, Resumption, Which};
//!
//! let agent = Agent::resumable().quick().resumption(Resumption::default().grace(Duration::from_secs(5)));
//! let instance = Instance::new("i-example")
//!     .agent(agent)
//!     // A copy of 20 MB loses 200 WebSockets,
//!     .fault(Fault::new(Point::EveryOutputBytes(100_000), Action::Cut))
//!     // and of the Inputs about one in a hundred does not reach the agent, the same ones each time.
//!     .frame_fault(FrameFault::to_agent(Which::Share { per_mille: 10, seed: 1 }, Corruption::Lose));
//! // For LocalCloud::faults().restart: closed with 1012, and away for a second.
//! let restart = Restart::new().down(Duration::from_secs(1));
//! # let _ = (instance, restart);
//! ```
#![cfg(unix)]

mod account;
mod agent;
mod api;
mod builder;
mod cloud;
mod command;
mod fault;
mod faults;
mod fleet;
mod frame_fault;
mod gateway;
mod instance;
mod record;
mod restart;
mod resumption;
mod server;
mod session;
mod shell;
mod sources;
pub mod ssh_server;
mod tls;
mod world;

pub use account::{AccessKey, KeyState};
pub use agent::{Agent, DialFailure, Generation, Hangup};
pub use builder::Builder;
pub use cloud::LocalCloud;
pub use command::{
    CommandFault, CommandKind, Commands, Ending, INSTALL_COMMAND, InvocationRecord, KeyPlugin,
    KeyQueryRecord, KeyRecord, Os, Poll, SEND_KEY_COMMAND, Sshd,
};
pub use fault::{Action, ApiFault, Fault, Malformed, Point};
pub use faults::{Faults, Wobble};
pub use fleet::{Boot, Facts};
pub use frame_fault::{Corruption, FrameFault, Way, Which};
pub use instance::{DEFAULT_LIMIT, Instance, InstanceStatus, Pace, Progress, SilentClose};
pub use record::{CallRecord, State, TimedOut, UpgradeRecord};
pub use restart::Restart;
pub use resumption::{Resumption, SyncAnswer, SyncNames};
pub use session::{SessionRecord, SessionState, SyncRecord};
pub use shell::Shells;
pub use sources::{
    Lifetime, Logins, Metadata, MetadataTokens, Role, SourceFault, SourcePart, SourceRecord,
};
pub use tls::Tls;
pub use world::{ClockOffset, Settings};
