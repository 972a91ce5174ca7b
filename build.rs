//! Gives the program its commit and its target, for `ecs-bridge version --json`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ECS_BRIDGE_COMMIT");
    // A package has no history: whoever builds one can give the commit in the variable.
    if let Some(commit) = given().or_else(commit) {
        println!("cargo::rustc-env=ECS_BRIDGE_COMMIT={commit}");
    }
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=ECS_BRIDGE_TARGET={target}");
}

/// The commit that the variable names: as short as git's own.
fn given() -> Option<String> {
    let commit = std::env::var("ECS_BRIDGE_COMMIT").ok().filter(|commit| !commit.is_empty())?;
    let is_whole = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(if is_whole { commit[..12].to_owned() } else { commit })
}

/// The commit that a release is built from. A debug build does not have it: each commit would compile the
/// program and all its tests again.
fn commit() -> Option<String> {
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return None;
    }
    for path in [git(&["rev-parse", "--git-path", "HEAD"]), head_file()].into_iter().flatten() {
        if std::fs::exists(&path).unwrap_or(false) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// The file that changes with a commit: that of the branch.
fn head_file() -> Option<String> {
    let branch = git(&["symbolic-ref", "-q", "HEAD"])?;
    git(&["rev-parse", "--git-path", &branch])
}

/// What git prints, where this folder is the root of a repository: a package may lie in the folder of another one.
fn git(args: &[&str]) -> Option<String> {
    if !std::fs::exists(".git").unwrap_or(false) {
        return None;
    }
    // In a container the checkout belongs to another user, and git would refuse it.
    let safe = format!("safe.directory={}", std::env::current_dir().ok()?.display());
    let output = Command::new("git").args(["-c", &safe]).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
