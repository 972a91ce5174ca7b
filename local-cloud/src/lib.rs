//! A stand-in for the far side of ecs-bridge: the OpenAPI with both its signatures, the Session Manager's gateway, and agents of
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
//!     .instance(Instance::new("i-example").target(22, sshd.local_addr()?).agent(Agent::old()))
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
//! It is given the keys that are registered at that moment, if the plug-in was installed. What was asked, invoked and polled, and
//! when, is in [`LocalCloud::invocations`], [`LocalCloud::keys`] and [`LocalCloud::key_queries`]; a private key that comes in
//! any parameter of any call is in [`LocalCloud::violations`].

mod account;
mod agent;
mod api;
mod builder;
mod cloud;
mod command;
mod fault;
mod faults;
mod frame_fault;
mod gateway;
mod instance;
mod record;
mod restart;
mod resumption;
mod server;
mod session;
pub mod ssh_server;
mod tls;
mod world;

pub use account::{AccessKey, KeyState};
pub use agent::{Agent, DialFailure, Generation};
pub use builder::Builder;
pub use cloud::LocalCloud;
pub use command::{
    CommandFault, CommandKind, Commands, Ending, INSTALL_COMMAND, InvocationRecord, KeyPlugin,
    KeyQueryRecord, KeyRecord, Os, Poll, SEND_KEY_COMMAND,
};
pub use fault::{Action, ApiFault, Fault, Malformed, Point};
pub use faults::{Faults, Wobble};
pub use frame_fault::{FrameFault, Mangle, Way, Which};
pub use instance::{DEFAULT_LIMIT, Instance, InstanceStatus, Pace, Progress};
pub use record::{CallRecord, State, TimedOut, UpgradeRecord};
pub use restart::Restart;
pub use resumption::{Resumption, SyncAnswer, SyncNames};
pub use session::{SessionRecord, SessionState, SyncRecord};
pub use tls::Tls;
pub use world::{ClockOffset, Settings};
