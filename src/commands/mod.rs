//! One file a command: its arguments, what it calls, what it prints. Only the crate's root imports this.

mod cache;
mod completions;
mod configure;
mod doctor;
mod forward;
mod help;
mod known_hosts;
mod list;
mod log;
mod man;
mod policy;
mod proxy;
mod send_key;
mod session;
mod ssh_config;
mod version;

use std::time::Duration;

use tracing::{info, warn};

use crate::app::{Done, Message, Result, until_signal};
use crate::cli::{Cli, Command};
use crate::credentials::host::tokens_written;
use crate::explain::{ExitCode, Report};
use crate::platform::signals::{Signals, outlive_file_limits};
use crate::platform::{event_loop, logging};

/// How long a login that is being renewed may keep the process: 10 s for the service's answer, and what it
/// takes to write that.
const TOKEN_WITHIN: Duration = Duration::from_secs(12);

/// Runs a command and gives the exit code of the process. Failures are printed on stderr.
pub(crate) fn run(cli: &Cli) -> u8 {
    #[cfg(windows)]
    if let Command::Proxy(_) = &cli.command
        && let Some(code) = crate::platform::child::run()
    {
        return code;
    }
    let code = match start(cli) {
        Ok(Done::Normally) => ExitCode::Ok as u8,
        Ok(Done::By(signal)) => signal.exit_code(),
        Ok(Done::Code(code)) => code,
        Err(error) => {
            let report = Report::new(&*error);
            logging::eprint(&report);
            logging::failed(&report);
            report.exit_code as u8
        }
    };
    logging::ended(code);
    logging::finish();
    code
}

fn start(cli: &Cli) -> Result<Done> {
    let global = &cli.global;
    let runtime = event_loop::start()
        .map_err(|error| Message(format!("cannot start the event loop: {error}")))?;
    let done = runtime.block_on(async {
        outlive_file_limits();
        logging::init(cli)?;
        if let Some(vendor) = &global.vendor {
            vendor.warnings.iter().for_each(|text| warn!("{text}"));
            vendor.notes.iter().for_each(|text| info!("{text}"));
        }
        match &cli.command {
            Command::Proxy(args) => proxy::run(global, args).await,
            Command::Forward(args) => forward::run(global, args).await,
            Command::Session(args) => session::run(global, args).await,
            Command::SendKey(args) => until_signal(send_key::run(global, args)).await,
            Command::KnownHosts(args) => until_signal(known_hosts::run(global, args)).await,
            Command::List(args) => until_signal(list::run(global, args)).await,
            Command::Doctor(args) => doctor::run(global, args).await,
            Command::Policy(args) => policy::run(args),
            Command::Log(args) => until_signal(log::run(args)).await,
            Command::Configure(args) => configure::run(global, args).await,
            Command::Cache(args) => cache::run(global, args),
            Command::SshConfig(args) => ssh_config::run(global, args).await,
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
            Command::Version(args) => until_signal(version::run(args)).await,
            Command::Help(args) => help::run(args),
            Command::CompleteTargets(args) => completions::run_for_script(args),
        }
    });
    runtime.block_on(keep_logins());
    // A thread that still waits for the terminal or for a name look-up is not waited for.
    runtime.shutdown_background();
    done
}

/// Waits for the tokens of logins that are being renewed: the old ones work no more, and without the new
/// ones somebody has to sign in again. Another signal ends the wait.
async fn keep_logins() {
    let Some(written) = tokens_written() else { return };
    info!("waits for the login service, whose new refresh token is to be written");
    let signal = async {
        match Signals::inherited() {
            Ok(mut signals) => {
                signals.next().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = written => return,
        () = signal => {}
        () = tokio::time::sleep(TOKEN_WITHIN) => {}
    }
    warn!(
        "the login service has not answered; if the next command says that the login has ended, \
         sign in again"
    );
}
