//! A cloud to try the client against by hand: prints how to reach it, and runs until it is told to stop.

#[cfg(unix)]
mod binary;
#[cfg(unix)]
mod options;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    binary::run()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("local-cloud: error: it runs on Unix only");
    std::process::exit(1);
}
