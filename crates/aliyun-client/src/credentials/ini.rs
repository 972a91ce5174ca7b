//! The ini file of the vendor's SDKs. Its fields are given the names that they have in a profile.

use std::collections::BTreeMap;

use configparser::ini::{Ini, IniDefault};
use serde_json::{Map, Value};

use crate::text::without_mark;

/// The types of a section, and the mode that a profile would have.
const TYPES: [(&str, &str); 3] =
    [("access_key", "AK"), ("ecs_ram_role", "EcsRamRole"), ("ram_role_arn", "RamRoleArn")];

/// Fields that a profile has under another name.
const FIELDS: [(&str, &str); 4] = [
    ("type", "mode"),
    ("role_name", "ram_role_name"),
    ("role_arn", "ram_role_arn"),
    ("role_session_name", "ram_session_name"),
];

/// The types of sections that are supported.
pub fn section_types() -> String {
    TYPES.map(|(name, _)| name).join(", ")
}

/// The name that a section has for a field of a profile.
pub(super) fn section_field(field: &'static str) -> &'static str {
    FIELDS.iter().find(|(_, name)| *name == field).map_or(field, |(name, _)| name)
}

/// The type of a section that is read as a profile of a mode.
pub(super) fn type_of(mode: &str) -> &str {
    TYPES.iter().find(|(_, name)| *name == mode).map_or(mode, |(name, _)| name)
}

/// The fields of each section, by their names in a profile.
type Sections = BTreeMap<String, Map<String, Value>>;

/// Reads the sections; or what is wrong, in words that hold nothing of the content.
pub(super) fn sections(bytes: &[u8]) -> Result<Sections, String> {
    let text =
        std::str::from_utf8(without_mark(bytes)?).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut defaults = IniDefault::default();
    // What stands before the first section belongs to none.
    defaults.default_section = String::new();
    defaults.case_sensitive = true;
    defaults.multiline = false;
    // A policy may hold the characters that begin a comment.
    defaults.enable_inline_comments = false;
    let read = Ini::new_from_defaults(defaults).read(text.to_owned());
    let read = read.map_err(|problem| format!("it is not an ini file: {}", position(&problem)))?;
    let sections = read.into_iter().filter(|(name, _)| !name.is_empty());
    Ok(sections
        .map(|(name, fields)| (name, fields.into_iter().filter_map(field).collect()))
        .collect())
}

fn field((name, value): (String, Option<String>)) -> Option<(String, Value)> {
    let known = FIELDS.iter().find(|(field, _)| name.eq_ignore_ascii_case(field));
    let name = known.map_or(&*name, |(_, name)| name);
    let mut value = value?;
    if name != "policy" {
        value = without_comment(&value).to_owned();
    }
    if name == "mode" {
        let mode = TYPES.iter().find(|(kind, _)| value.eq_ignore_ascii_case(kind));
        value = mode.map_or(value, |(_, mode)| (*mode).to_owned());
    }
    Some((name.to_owned(), Value::String(value)))
}

/// A value without a comment behind it, and without the quotes around it.
fn without_comment(value: &str) -> &str {
    let comment = value.char_indices().find(|(at, char)| {
        matches!(char, '#' | ';') && value[..*at].ends_with(char::is_whitespace)
    });
    let value = value[..comment.map_or(value.len(), |(at, _)| at)].trim();
    let quoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)));
    quoted.unwrap_or(value)
}

/// Where the parser has stopped: its text up to the first colon that follows the line.
fn position(problem: &str) -> &str {
    let end = problem.find(": ").unwrap_or_default();
    match &problem[..end] {
        "" => "it cannot be parsed",
        position => position,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str, section: &str, field: &str) -> Option<String> {
        let sections = sections(content.as_bytes()).unwrap();
        let (_, fields) = sections.into_iter().find(|(name, _)| name == section)?;
        fields.get(field).and_then(Value::as_str).map(str::to_owned)
    }

    #[test]
    fn a_section_is_read_as_a_profile() {
        let content = "\u{feff}; a comment\r\nloose = x\r\n[ default ]\r\n# another\r\n  Type = Access_Key \r\n\
                       access_key_id=LTAI  # mine\r\naccess_key_secret = \"a/b+c==\"\r\nenabled\r\n\r\n\
                       [Ops]\ntype = ram_role_arn\nrole_arn = acs:ram::1:role/x\nrole_session_name=s\n\
                       policy = {\"a\": \"b # c\"}\n[host]\ntype=ecs_ram_role\nrole_name = 'EcsRole'\n\
                       [new]\ntype = oidc_role_arn\n";
        for (section, field, value) in [
            ("default", "mode", "AK"),
            ("default", "access_key_id", "LTAI"),
            ("default", "access_key_secret", "a/b+c=="),
            ("Ops", "mode", "RamRoleArn"),
            ("Ops", "ram_role_arn", "acs:ram::1:role/x"),
            ("Ops", "ram_session_name", "s"),
            ("Ops", "policy", "{\"a\": \"b # c\"}"),
            ("host", "mode", "EcsRamRole"),
            ("host", "ram_role_name", "EcsRole"),
            ("new", "mode", "oidc_role_arn"),
        ] {
            assert_eq!(
                text(content, section, field).as_deref(),
                Some(value),
                "[{section}] {field}"
            );
        }
        let names: Vec<_> = sections(content.as_bytes()).unwrap().into_keys().collect();
        assert_eq!(names, ["Ops", "default", "host", "new"], "[ops] is another one");
    }

    #[test]
    fn what_cannot_be_read_is_placed_and_not_shown() {
        for (content, problem) in [
            (&b"[default\nhush=1"[..], "it is not an ini file: line 1"),
            (b"[default]\n = hush", "it is not an ini file: line 2:0"),
            (b"\xff\xfe[\0", "it is UTF-16, not UTF-8"),
            (b"[x]\n\xff", "it is not UTF-8"),
        ] {
            assert_eq!(sections(content).unwrap_err(), problem);
        }
        assert!(sections(b"").unwrap().is_empty());
    }
}
