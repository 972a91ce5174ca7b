//! Gives the program its commit and its target, for `ecs-bridge version --json`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ECS_BRIDGE_COMMIT");
    // A package has no history: whoever builds one can give the commit in the variable.
    if let Some(commit) = std::env::var("ECS_BRIDGE_COMMIT").ok().or_else(commit) {
        println!("cargo::rustc-env=ECS_BRIDGE_COMMIT={commit}");
    }
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=ECS_BRIDGE_TARGET={target}");
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
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
