//! Checks as lines for people, and as a JSON document for programs.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::outcome::{Checked, Outcome, exit_code};
use crate::explain::{ExitCode, printable};
use crate::platform::logging::LastFailure;

/// The column in which what was found begins.
const COLUMN: usize = 19;

/// The lines of a check.
pub(crate) fn lines(checked: &Checked, in_colour: bool) -> String {
    let (mark, colour) = match &checked.outcome {
        Outcome::Passed(_) => ("✓", "32"),
        Outcome::Failed(_) => ("✗", "31"),
        Outcome::Skipped { .. } => ("–", "2"),
        Outcome::Unknown(_) => ("?", "33"),
    };
    let mark = match in_colour {
        true => format!("\u{1b}[{colour}m{mark}\u{1b}[0m"),
        false => mark.to_owned(),
    };
    let (found, report) = match &checked.outcome {
        Outcome::Passed(found) => (found.clone(), None),
        Outcome::Skipped { why, because: Some(_) } => (format!("skipped: {why}"), None),
        Outcome::Skipped { why, because: None } => (why.clone(), None),
        Outcome::Failed(report) | Outcome::Unknown(report) => (report.what.clone(), Some(report)),
    };
    let parts = report.map(|report| parts([&report.why, &report.fix, &report.request_id]));
    let parts = parts.unwrap_or_default();
    format!("{mark} {:COLUMN$} {}{parts}", checked.title, on_one_line(&found))
}

/// The lines of why, fix and `RequestId`, as far as they are known.
fn parts(parts: [&Option<String>; 3]) -> String {
    let parts = ["why", "fix", "RequestId"].into_iter().zip(parts);
    let line = |(label, text): (_, &Option<_>)| {
        text.as_deref().map(|text| format!("\n    {label}: {}", below(text)))
    };
    parts.filter_map(line).collect()
}

fn on_one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text of several lines, which stand below its first.
fn below(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(printable).collect();
    lines.join("\n         ")
}

/// The lines of the last failure of a command, which stand before the checks.
pub(crate) fn last_failure(failure: &LastFailure, now: SystemTime, in_colour: bool) -> String {
    let mark = if in_colour { "\u{1b}[33m!\u{1b}[0m" } else { "!" };
    let LastFailure { what, why, fix, request_id, .. } = failure;
    let (title, what) = (on_one_line(&failure.title(now)), below(what));
    let parts = parts([why, fix, request_id]);
    format!("{mark} {:COLUMN$} {title}\n    what: {what}{parts}", "last failure")
}

/// What there is to say of all of them.
pub(crate) fn summary(checked: &[Checked]) -> String {
    let count = |fits: fn(&Outcome) -> bool| checked.iter().filter(|c| fits(&c.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let passed = count(|outcome| matches!(outcome, Outcome::Passed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped { .. }));
    let unknown = count(|outcome| matches!(outcome, Outcome::Unknown(_)));
    let checks = |count: usize| if count == 1 { "check" } else { "checks" };
    let mut parts = match failed {
        0 => vec![format!("{passed} {} passed", checks(passed))],
        _ => vec![format!("{failed} {} failed", checks(failed)), format!("{passed} passed")],
    };
    parts.extend((skipped > 0).then(|| format!("{skipped} skipped")));
    parts.extend((unknown > 0).then(|| format!("{unknown} unknown")));
    parts.join(", ")
}

/// The document of `--json`.
pub(crate) fn json(
    checked: &[Checked],
    target: Option<&str>,
    last_failure: Option<&LastFailure>,
    ecs_bridge: &Value,
) -> Value {
    let code = exit_code(checked);
    json!({
        "target": target,
        "ok": code == ExitCode::Ok,
        "exit_code": code as u8,
        "last_failure": last_failure,
        "ecs_bridge": ecs_bridge,
        "checks": checked.iter().map(one).collect::<Vec<_>>(),
    })
}

fn one(checked: &Checked) -> Value {
    let mut value = json!({ "id": checked.id, "title": checked.title });
    let (status, found, report) = match &checked.outcome {
        Outcome::Passed(found) => ("passed", found, None),
        Outcome::Failed(report) => ("failed", &report.what, Some(report)),
        Outcome::Skipped { why, because } => {
            if let Some(because) = because {
                value["because"] = json!(because);
            }
            ("skipped", why, None)
        }
        Outcome::Unknown(report) => ("unknown", &report.what, Some(report)),
    };
    value["status"] = json!(status);
    value["found"] = json!(found);
    if let Some(report) = report {
        let parts =
            [("why", &report.why), ("fix", &report.fix), ("request_id", &report.request_id)];
        for (name, text) in parts {
            if let Some(text) = text {
                value[name] = json!(text);
            }
        }
    }
    if let Outcome::Failed(report) = &checked.outcome {
        value["exit_code"] = json!(report.exit_code as u8);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Report;

    fn checked(outcome: Outcome) -> Checked {
        Checked { id: "session_manager", title: "Session Manager", outcome }
    }

    #[test]
    fn a_check_is_a_line_and_a_failed_one_has_its_cause_and_its_remedy_below() {
        let shown = |outcome| lines(&checked(outcome), false);
        assert_eq!(shown(Outcome::passed("it is on")), "✓ Session Manager     it is on");
        let trouble = Report::plain("it is\u{1b}[31m off", ExitCode::Target).fix("run:\naliyun");
        assert_eq!(
            shown(Outcome::Failed(trouble)),
            "✗ Session Manager     it is [31m off\n    fix: run:\n         aliyun"
        );
        assert_eq!(shown(Outcome::skipped("no TARGET")), "– Session Manager     no TARGET");
        let red = lines(&checked(Outcome::passed("on")), true);
        assert_eq!(red, "\u{1b}[32m✓\u{1b}[0m Session Manager     on");
    }

    #[test]
    fn the_document_tells_the_same() {
        let trouble = Report::plain("off", ExitCode::Target).why("because");
        let because = Some("identity");
        let all = [
            checked(Outcome::Failed(trouble)),
            checked(Outcome::Skipped { why: "x".into(), because }),
        ];
        let document = json(&all, Some("web-1"), None, &json!({}));
        assert_eq!(document["exit_code"], 6);
        assert_eq!(document["checks"][0]["why"], "because");
        assert_eq!(document["checks"][1]["because"], "identity");
        assert_eq!(summary(&all), "1 check failed, 0 passed, 1 skipped");
    }
}
