//! Changes profile files: everything else keeps its place and its text.
//!
//! The vendor's tools share the file, and have fields that this program does not. So values are kept as they
//! are written, and members in their order. A file that is changed is laid out like what the vendor's CLI
//! writes, with the file's own indentation and line ends; blanks elsewhere and a field that stands there
//! twice are not kept.

use aliyun_client::text::{text_of, without_mark};
use indexmap::IndexMap;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use serde_json::ser::PrettyFormatter;
use serde_json::value::{RawValue, to_raw_value};

const CURRENT: &str = "current";
const PROFILES: &str = "profiles";
const NAME: &str = "name";

/// The members of an object in their order, each with its text; of two with one name, the last.
type Object = IndexMap<String, Box<RawValue>>;

/// The content of a profile file.
#[derive(Clone)]
pub(crate) struct Document {
    /// The file as it is to be; a file that is not changed stays as it was read.
    text: String,
    top: Object,
    profiles: Vec<Object>,
}

/// A profile as it stands in a file. Without `Debug`: secrets are among its fields.
#[derive(Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    fields: IndexMap<String, Value>,
}

impl Entry {
    fn of(profile: &Object) -> Option<Self> {
        let name = name_of(profile)?;
        let fields = profile.iter().map(|(name, raw)| (name.clone(), value(raw)));
        Some(Self { name, fields: fields.collect() })
    }

    /// The names of its fields.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.fields.keys().map(String::as_str).collect()
    }

    /// A field as the vendor's tools find it: of this name, or else of one that differs in case.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        Some(&self.fields[position(&self.fields, field)?])
    }

    /// A field's text; `None` if it is missing, empty, or no text or number.
    pub(crate) fn text(&self, field: &str) -> Option<String> {
        text_of(self.get(field)?)
    }
}

impl Document {
    /// Reads a file's content. One that is empty is as good as none.
    ///
    /// # Errors
    /// When it is not understood, and so must not be changed: why, in words that hold nothing of the
    /// content.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // The vendor's own CLI cannot read a file with such a mark: it is not written again.
        let bytes = without_mark(bytes)?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let not_json = |problem: serde_json::Error| {
            format!("it is not JSON, at line {}, column {}", problem.line(), problem.column())
        };
        let whole: Value = serde_json::from_slice(bytes).map_err(not_json)?;
        if !whole.is_object() {
            return Err("it is JSON, but not an object".to_owned());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let top: Object = serde_json::from_str(text).map_err(not_json)?;
        if let Some(at) = position(&top, CURRENT)
            && !matches!(value(&top[at]), Value::String(_) | Value::Null)
        {
            return Err("its 'current' is not a name".to_owned());
        }
        let profiles = match position(&top, PROFILES).map(|at| &top[at]) {
            Some(list) if !value(list).is_null() => profiles(list)?,
            _ => Vec::new(),
        };
        Ok(Self { text: text.to_owned(), top, profiles })
    }

    /// What a file has to hold.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The name of the current profile.
    pub(crate) fn current(&self) -> Option<String> {
        match value(&self.top[position(&self.top, CURRENT)?]) {
            Value::String(name) if !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// The profiles that have a name, in the file's order.
    pub(crate) fn profiles(&self) -> Vec<Entry> {
        self.profiles.iter().filter_map(Entry::of).collect()
    }

    /// The first profile of a name, which is the one that is used.
    pub(crate) fn profile(&self, name: &str) -> Option<Entry> {
        Entry::of(&self.profiles[self.index_of(name)?])
    }

    /// Makes a profile the current one.
    pub(crate) fn set_current(&mut self, name: &str) {
        if put(&mut self.top, CURRENT, &name.into()) {
            self.write();
        }
    }

    /// Changes fields of a profile, or makes one of them. What is `None` is removed.
    ///
    /// # Errors
    /// The name of a field whose value is a list or an object, which this program does not replace.
    pub(crate) fn set(
        &mut self,
        name: &str,
        fields: &[(&str, Option<Value>)],
    ) -> Result<(), String> {
        let entry = self.profile(name);
        let present = |field: &str| entry.as_ref().and_then(|entry| entry.get(field));
        let is_odd = |field: &str| present(field).is_some_and(|v| v.is_object() || v.is_array());
        if let Some((field, _)) = fields.iter().find(|(field, _)| is_odd(field)) {
            return Err((*field).to_owned());
        }
        let at = self.index_of(name).unwrap_or_else(|| self.add(name));
        let mut is_changed = entry.is_none();
        for (field, value) in fields {
            is_changed |= match value {
                Some(value) => put(&mut self.profiles[at], field, value),
                None => take(&mut self.profiles[at], field),
            };
        }
        if is_changed {
            self.write();
        }
        Ok(())
    }

    /// Removes all profiles of a name; how many there were.
    pub(crate) fn delete(&mut self, name: &str) -> usize {
        let before = self.profiles.len();
        self.profiles.retain(|profile| name_of(profile).is_none_or(|other| other != name));
        let count = before - self.profiles.len();
        if count > 0 {
            self.write();
        }
        count
    }

    /// Adds a profile that has nothing but its name; where it is.
    fn add(&mut self, name: &str) -> usize {
        let mut profile = Object::new();
        put(&mut profile, NAME, &name.into());
        self.profiles.push(profile);
        self.profiles.len() - 1
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.profiles.iter().position(|profile| name_of(profile).is_some_and(|other| other == name))
    }

    /// Writes the text anew.
    fn write(&mut self) {
        if position(&self.top, PROFILES).is_none() && !self.profiles.is_empty() {
            put(&mut self.top, PROFILES, &Value::Array(Vec::new()));
        }
        let mut new = Vec::new();
        let written = match self.indentation() {
            Some(unit) => {
                let layout = PrettyFormatter::with_indent(unit.as_bytes());
                self.serialize(&mut serde_json::Serializer::with_formatter(&mut new, layout))
            }
            None => self.serialize(&mut serde_json::Serializer::new(&mut new)),
        };
        // Writing to memory does not fail, and JSON is UTF-8.
        let Ok(Ok(mut new)) = written.map(|()| String::from_utf8(new)) else { return };
        new.push_str(&self.text[self.text.trim_end().len()..]);
        let lines = self.text.matches('\n').count();
        if lines > 0 && lines == self.text.matches("\r\n").count() {
            new = new.replace("\r\n", "\n").replace('\n', "\r\n");
        }
        self.text = new;
    }

    /// One step of indentation, as the file has it or as the vendor writes it; `None` for a file that is
    /// one line.
    fn indentation(&self) -> Option<String> {
        let Some((_, rest)) = self.text.trim_end().split_once('\n') else {
            let is_empty = value_of(&self.text).as_object().is_some_and(serde_json::Map::is_empty);
            return is_empty.then(|| "\t".to_owned());
        };
        let unit: String = rest.chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
        Some(if unit.is_empty() { "\t".to_owned() } else { unit })
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let list = position(&self.top, PROFILES);
        let mut map = serializer.serialize_map(Some(self.top.len()))?;
        for (at, (name, value)) in self.top.iter().enumerate() {
            match Some(at) == list {
                true => map.serialize_entry(name, &self.profiles)?,
                false => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

impl Default for Document {
    /// As the vendor's CLI would begin it.
    fn default() -> Self {
        let mut top = Object::new();
        put(&mut top, CURRENT, &"".into());
        put(&mut top, PROFILES, &Value::Array(Vec::new()));
        let text = "{\n\t\"current\": \"\",\n\t\"profiles\": []\n}\n".to_owned();
        Self { text, top, profiles: Vec::new() }
    }
}

/// The profiles of a list.
fn profiles(list: &RawValue) -> Result<Vec<Object>, String> {
    let list: Vec<Box<RawValue>> =
        serde_json::from_str(list.get()).map_err(|_| "its 'profiles' is not a list".to_owned())?;
    let profile = |raw: Box<RawValue>| {
        let profile: Object = serde_json::from_str(raw.get()).ok()?;
        profile.get(NAME).is_none_or(|name| value(name).is_string()).then_some(profile)
    };
    let profiles: Option<_> = list.into_iter().map(profile).collect();
    profiles.ok_or_else(|| "one of its 'profiles' is not a profile".to_owned())
}

fn name_of(profile: &Object) -> Option<String> {
    value(profile.get(NAME)?).as_str().map(str::to_owned)
}

fn value(raw: &RawValue) -> Value {
    value_of(raw.get())
}

fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Where a member of this name is, or else the last one whose name differs in case alone.
fn position<V>(members: &IndexMap<String, V>, name: &str) -> Option<usize> {
    let alike = || members.keys().rposition(|other| other.eq_ignore_ascii_case(name));
    members.get_index_of(name).or_else(alike)
}

/// Sets a member; whether that changes anything. What means the same stays as somebody has written it.
fn put(members: &mut Object, name: &str, new: &Value) -> bool {
    let at = position(members, name);
    if at.is_some_and(|at| value(&members[at]) == *new) {
        return false;
    }
    let Ok(raw) = to_raw_value(new) else { return false };
    match at {
        Some(at) => members[at] = raw,
        None => drop(members.insert(name.to_owned(), raw)),
    }
    true
}

/// Removes a member, however its name is written; whether there was one.
fn take(members: &mut Object, name: &str) -> bool {
    let before = members.len();
    while let Some(at) = position(members, name) {
        members.shift_remove_index(at);
    }
    members.len() < before
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
