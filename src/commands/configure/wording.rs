//! The words and the order of `configure`'s prompts: this program's, or those of ali-instance-cli,
//! which scripts for `expect` wait for.

use crate::cli::Global;
use crate::credentials::form::{self, Mode, Need, Question, REGION};
use crate::explain::printable;

/// What takes an optional field out.
pub(super) const NOTHING: &str = "-";

/// ali-instance-cli prompts for it in each mode, after the region.
const LANGUAGE: Question = Question { field: "language", need: Need::Usually("en") };

/// The order of ali-instance-cli, where it is not that of the mode.
const ORDER: [&str; 7] = [
    "access_key_id",
    "access_key_secret",
    "sts_region",
    "ram_role_name",
    "ram_role_arn",
    "ram_session_name",
    "expired_seconds",
];

/// Whose words and order the prompts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wording {
    /// Those of this program.
    Own,
    /// Those of ali-instance-cli, as which it was called.
    Vendor,
}

impl Wording {
    pub(super) fn of(global: &Global) -> Self {
        if global.vendor.is_some() { Self::Vendor } else { Self::Own }
    }

    /// The prompts for a mode.
    pub(super) fn questions(self, mode: &Mode) -> Vec<Question> {
        let mut questions = mode.questions();
        if self == Self::Vendor {
            // Fields of the mode that this order lacks come after the others.
            let place = |question: &Question| ORDER.iter().position(|f| *f == question.field);
            questions.sort_by_key(|question| place(question).unwrap_or(ORDER.len()));
        }
        questions.push(REGION);
        if self == Self::Vendor {
            questions.push(LANGUAGE);
        }
        questions
    }

    /// A question, with what Enter keeps or takes.
    pub(super) fn prompt(self, question: Question, offered: Option<&str>) -> String {
        let Question { field, need } = question;
        let label = match self {
            Self::Own => form::label(field),
            Self::Vendor => label(field),
        };
        match (self, offered, need) {
            (Self::Vendor, offered, _) if field == LANGUAGE.field => {
                format!("{label} {}: ", offered.unwrap_or_default())
            }
            (_, Some(offered), Need::May) => {
                format!("{label} [{offered}; {NOTHING} for none]: ")
            }
            (_, Some(offered), _) => format!("{label} [{offered}]: "),
            (Self::Own, None, _) => format!("{label}: "),
            (Self::Vendor, None, _) => format!("{label} []: "),
        }
    }

    /// What is written before a question, if anything is.
    pub(super) fn before(self, question: Question) -> Option<&'static str> {
        let is_behind_region = self == Self::Vendor && question.field == LANGUAGE.field;
        is_behind_region.then_some("Default Output Format [json]: json (Only support json)")
    }

    /// The first line. `others` names more modes.
    pub(super) fn heading(self, name: &str, mode: &str, path: &str, others: &str) -> String {
        let name = printable(name);
        match self {
            Self::Own => format!("profile '{name}' of {path}, mode {mode}{others}"),
            Self::Vendor => {
                format!("Configuring profile '{name}' in '{mode}' authenticate mode...")
            }
        }
    }

    /// The warning that a profile gets another mode.
    pub(super) fn other_mode(self, name: &str, before: &str, mode: &str) -> Option<String> {
        let warns = self == Self::Vendor && !before.eq_ignore_ascii_case(mode);
        warns.then(|| {
            format!(
                "Warning: You are changing the authentication type of profile '{}' from '{}' to '{mode}'",
                printable(name),
                printable(before)
            )
        })
    }

    /// The line that reports that a profile is written.
    pub(super) fn written(self, name: &str, path: &str) -> String {
        let name = printable(name);
        match self {
            Self::Own => format!("profile '{name}' is written to {path}"),
            Self::Vendor => format!("Saving profile[{name}] ...Done."),
        }
    }
}

/// What ali-instance-cli calls a field.
fn label(field: &str) -> &str {
    match field {
        "access_key_id" => "Access Key Id",
        "access_key_secret" => "Access Key Secret",
        "sts_token" => "Sts Token",
        "sts_region" => "Sts Region",
        "ram_role_name" => "Ecs Ram Role",
        "ram_role_arn" => "Ram Role Arn",
        "ram_session_name" => "Role Session Name",
        "expired_seconds" => "Expired Seconds",
        "region_id" => "Default Region Id",
        "language" => "Default Language [zh|en]",
        "credentials_uri" => "Credentials URI",
        "process_command" => "Process Command",
        other => form::label(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wording: Wording, mode: &str) -> Vec<String> {
        let questions = wording.questions(form::mode(mode).unwrap());
        questions.into_iter().map(|question| wording.prompt(question, None)).collect()
    }

    #[test]
    fn the_vendor_s_questions_have_its_order() {
        for (mode, prompts) in [
            ("AK", &["Access Key Id []: ", "Access Key Secret []: "][..]),
            ("StsToken", &["Access Key Id []: ", "Access Key Secret []: ", "Sts Token []: "]),
            ("CredentialsURI", &["Credentials URI []: "]),
            ("EcsRamRole", &["Ecs Ram Role []: "]),
            ("External", &["Process Command []: "]),
            (
                "RamRoleArn",
                &[
                    "Access Key Id []: ",
                    "Access Key Secret []: ",
                    "Sts Region []: ",
                    "Ram Role Arn []: ",
                    "Role Session Name []: ",
                    "Expired Seconds []: ",
                    "External id (optional) []: ",
                ],
            ),
        ] {
            let common = ["Default Region Id []: ", "Default Language [zh|en] : "];
            assert_eq!(asked(Wording::Vendor, mode), [prompts, &common].concat(), "{mode}");
        }
        let own = ["AccessKey ID: ", "AccessKey secret: ", "Region, such as cn-hangzhou: "];
        assert_eq!(asked(Wording::Own, "AK"), own);
    }

    #[test]
    fn what_enter_keeps_is_in_brackets() {
        let key = form::mode("AK").unwrap().questions()[0];
        assert_eq!(Wording::Vendor.prompt(key, Some("LTAI…001")), "Access Key Id [LTAI…001]: ");
        assert_eq!(Wording::Vendor.prompt(LANGUAGE, Some("zh")), "Default Language [zh|en] zh: ");
        let role = form::mode("EcsRamRole").unwrap().questions()[0];
        assert_eq!(Wording::Vendor.prompt(role, Some("a")), "Ecs Ram Role [a; - for none]: ");
    }
}
