//! The shell that ssh runs a `ProxyCommand` with: `$SHELL -c "exec …"`.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::printed::printed;
use super::ssh_config::quote::{needs_quotes, proxy_word};
use crate::platform::open_files::OpenFiles;
use aliyun_client::text::first_line;

/// How long the shell may take: it may read its user's files first.
const WITHIN: Duration = Duration::from_secs(5);
/// Shells that do not read a backslash before a character as others do.
const OWN_QUOTING: [&str; 5] = ["xonsh", "nu", "elvish", "pwsh", "powershell"];
/// How much of what the shell says is shown, in characters.
const SHOWN: usize = 120;

/// Why the user's shell cannot run a `ProxyCommand`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShellProblem {
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) fix: String,
}

/// Finds out whether ssh, with this `SHELL`, can run a program that is written into a `ProxyCommand`.
pub(crate) async fn check_shell(shell: Option<&OsStr>, program: &str) -> Option<ShellProblem> {
    // Where there is none, ssh takes /bin/sh. On Windows it runs commands without a shell.
    let shell = Path::new(shell.filter(|shell| !shell.is_empty() && cfg!(unix))?);
    let path = shell.display();
    let problem = |why: String, fix: &str| {
        let what = format!("SHELL={path} cannot run ssh's ProxyCommand");
        Some(ShellProblem {
            what,
            why: format!("ssh runs it as $SHELL -c 'exec …'; {why}"),
            fix: fix.to_owned(),
        })
    };
    let is_odd = shell.file_name().is_some_and(|name| OWN_QUOTING.iter().any(|odd| name == *odd));
    if is_odd && needs_quotes(program) {
        return problem(
            format!("this shell reads the path {program:?} in another way than sh"),
            "move ecs-bridge to a path of letters, digits, '-' and '/' and write the configuration \
             again; or run ssh with SHELL=/bin/sh",
        );
    }
    let script = format!("exec {} --version", proxy_word(program).replace("%%", "%"));
    let why = match printed(Command::new(shell).arg("-c").arg(script), WITHIN).await {
        Ok(printed)
            if printed.stdout.contains(concat!("ecs-bridge ", env!("CARGO_PKG_VERSION"))) =>
        {
            return None;
        }
        Ok(printed) => {
            let status = printed.status;
            first_line(&printed.stderr, SHOWN)
                .unwrap_or_else(|| format!("it did not start ecs-bridge ({status})"))
        }
        // A shell whose own files wait for something is not told from one that is slow.
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return None,
        Err(error) => match OpenFiles::of_io(&error) {
            Some(files) => {
                return Some(ShellProblem {
                    what: format!("SHELL={path} cannot be checked: {error}"),
                    why: files.why().to_owned(),
                    fix: files.remedy().to_owned(),
                });
            }
            None => error.to_string(),
        },
    };
    problem(why, "set SHELL to a shell that is there, such as /bin/sh, where ssh runs")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shell_that_reads_paths_in_its_own_way_is_named() {
        let check = |shell: &'static str, program: &'static str| async move {
            check_shell(Some(OsStr::new(shell)), program).await.map(|problem| problem.why)
        };
        let odd = check("/usr/bin/xonsh", "/opt/ecs bridge").await.unwrap();
        assert!(odd.contains("in another way"), "{odd}");
        let missing = check("/nonexistent/sh", "/opt/ecs-bridge").await.unwrap();
        assert!(missing.contains("No such file"), "{missing}");
        assert_eq!(check("", "/opt/ecs bridge").await, None);
        assert_eq!(check_shell(None, "/opt/ecs bridge").await, None);
    }
}
