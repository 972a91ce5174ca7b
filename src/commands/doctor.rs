//! `ecs-bridge doctor`: all that a connection needs, checked one after the other.

use std::env;
use std::time::SystemTime;

use crate::app::{Done, Message, Result, about, print};
use crate::cli::{self, Global};
use crate::doctor::check::run_checks;
use crate::doctor::context::DoctorContext;
use crate::doctor::outcome::exit_code;
use crate::doctor::report;
use crate::openssh::installed;
use crate::platform::cache::DAY;
use crate::platform::logging::{self, Folder, LastFailure};
use crate::platform::signals::Signals;
use crate::platform::terminal::{Stream, shows_colours};
use crate::target::finder::Finder;

/// Runs the command. What is wrong with the configuration is reported by the checks.
pub(crate) async fn run(global: &Global, args: &cli::Doctor) -> Result<Done> {
    if let Some(target) = &args.target {
        Finder::check(target)?;
    }
    let mut signals =
        Signals::new().map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    let context = DoctorContext::new(global, args);
    let in_colour = in_colour();
    let mut unwritten = None;
    let mut tell = |text: &dyn std::fmt::Display| {
        // A closed stdout is no failure.
        if unwritten.is_none() {
            unwritten = print(text).err();
        }
    };
    let last_failure = last_failure(global);
    if let Some(failure) = &last_failure
        && !args.json
    {
        tell(&report::last_failure(failure, SystemTime::now(), in_colour));
    }
    let checked = {
        let checks = run_checks(context.checks(), context.deadline, |one| {
            if !args.json {
                tell(&report::lines(one, in_colour));
            }
        });
        let mut checks = std::pin::pin!(checks);
        tokio::select! {
            checked = checks.as_mut() => checked,
            signal = signals.next() => {
                context.end_session(checks).await;
                return Ok(Done::By(signal));
            }
        }
    };
    match args.json {
        true => {
            // The check of ssh has queried it already, unless it was skipped.
            let ecs_bridge = match context.ssh.get() {
                Some(ssh) => about(ssh).await,
                None => about(&installed().await).await,
            };
            let target = args.target.as_deref();
            tell(&report::json(&checked, target, last_failure.as_ref(), &ecs_bridge));
        }
        false if !global.quiet => {
            tell(&report::summary(&checked));
            if args.target.is_none() {
                tell(&"To check an instance and the way to it: ecs-bridge doctor INSTANCE");
            }
        }
        false => {}
    }
    match unwritten {
        Some(error) => Err(error),
        None => Ok(Done::Code(exit_code(&checked) as u8)),
    }
}

/// The last failure of any command, if it is younger than a day.
fn last_failure(global: &Global) -> Option<LastFailure> {
    if logging::is_off(global.no_log) {
        return None;
    }
    let failure = LastFailure::read(&Folder::of_process()?)?;
    failure.age(SystemTime::now()).is_some_and(|age| age < DAY).then_some(failure)
}

/// Colours are for terminals, unless NO_COLOR is set.
fn in_colour() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_set("NO_COLOR") && !is_dumb && shows_colours(Stream::Stdout)
}
