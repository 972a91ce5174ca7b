//! The profile file, changed in place: what was not asked for stays as it is, byte for byte.
//!
//! The vendor's tools share the file, and know fields that this program does not. So it is never
//! written anew from what was understood of it: a value is replaced where it stands, and what is added
//! looks like what is there already; where nothing is, like what the vendor's CLI writes.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

const CURRENT: &str = "current";
const PROFILES: &str = "profiles";
const NAME: &str = "name";

/// The content of a profile file.
#[derive(Clone)]
pub(crate) struct Document {
    /// One JSON object.
    text: String,
}

/// A profile as it stands in a file. Without `Debug`: secrets are among its fields.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// In the file's order, a name that stands there twice too.
    fields: Vec<(String, Value)>,
    /// As it is written.
    text: String,
}

impl Entry {
    /// The names of its fields, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.fields {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// A field as the vendor's tools find it: of this name, or else of one that differs in case; the
    /// last one if there are several.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        let at = position(self.fields.iter().map(|(name, _)| name.as_str()), field)?;
        Some(&self.fields[at].1)
    }

    /// A field's text; `None` if it is missing, empty, or no text or number.
    pub(crate) fn text(&self, field: &str) -> Option<String> {
        let text = match self.get(field)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// Whether it is written as another one is.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Document {
    /// Reads a file's content. One that is empty is as good as none.
    ///
    /// # Errors
    /// When it is not understood, and so must not be touched: why, in words that hold nothing of the
    /// content.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // The vendor's own CLI cannot read a file with such a mark: it is not written again.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err("it is UTF-16; save it as UTF-8".to_owned());
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|problem| {
            format!("it is not JSON, at line {}, column {}", problem.line(), problem.column())
        })?;
        if !value.is_object() {
            return Err("it is JSON, but not an object".to_owned());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let document = Self { text: text.to_owned() };
        document.check()?;
        Ok(document)
    }

    /// Whether it has the shape that this program knows how to change.
    fn check(&self) -> Result<(), String> {
        let top = self.top();
        if let Some(member) = find(&top, CURRENT)
            && !matches!(self.value(&member.value), Value::String(_) | Value::Null)
        {
            return Err("its 'current' is not a name".to_owned());
        }
        let Some(list) = find(&top, PROFILES) else { return Ok(()) };
        match self.value(&list.value) {
            Value::Null => Ok(()),
            Value::Array(profiles) => {
                let is_profile = |value: &Value| value.get(NAME).is_none_or(Value::is_string);
                match profiles.iter().all(|value| value.is_object() && is_profile(value)) {
                    true => Ok(()),
                    false => Err("one of its 'profiles' is not a profile".to_owned()),
                }
            }
            _ => Err("its 'profiles' is not a list".to_owned()),
        }
    }

    /// What a file has to hold.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The name of the current profile.
    pub(crate) fn current(&self) -> Option<String> {
        let top = self.top();
        match self.value(&find(&top, CURRENT)?.value) {
            Value::String(name) if !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// The profiles that have a name, in the file's order.
    pub(crate) fn profiles(&self) -> Vec<Entry> {
        self.spans().into_iter().filter_map(|span| self.entry(&span)).collect()
    }

    /// The first profile of a name, which is the one that is used.
    pub(crate) fn profile(&self, name: &str) -> Option<Entry> {
        self.profiles().into_iter().find(|entry| entry.name == name)
    }

    /// Makes a profile the current one.
    pub(crate) fn set_current(&mut self, name: &str) {
        let whole = 0..self.text.len();
        self.put(whole, CURRENT, &Value::String(name.to_owned()));
    }

    /// Changes fields of a profile, or makes one of them. What is `None` is removed.
    ///
    /// # Errors
    /// The name of a field whose value is a list or an object: nobody knows yet what that would be.
    pub(crate) fn set(
        &mut self,
        name: &str,
        fields: &[(&str, Option<Value>)],
    ) -> Result<(), String> {
        let Some(entry) = self.profile(name) else {
            self.add(name, fields);
            return Ok(());
        };
        let is_odd = |field: &str| entry.get(field).is_some_and(|v| v.is_object() || v.is_array());
        if let Some((field, _)) = fields.iter().find(|(field, _)| is_odd(field)) {
            return Err((*field).to_owned());
        }
        for (field, value) in fields {
            let Some(span) = self.span_of(name) else { break };
            match value {
                Some(value) => self.put(span, field, value),
                None => self.take(span, field),
            }
        }
        Ok(())
    }

    /// Removes all profiles of a name; how many there were.
    pub(crate) fn delete(&mut self, name: &str) -> usize {
        let mut count = 0;
        while let Some(at) = self.index_of(name) {
            self.cut(&self.spans(), at);
            count += 1;
        }
        count
    }

    fn add(&mut self, name: &str, fields: &[(&str, Option<Value>)]) {
        let name = Value::String(name.to_owned());
        let fields = fields.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        let fields: Vec<_> = std::iter::once((NAME, &name)).chain(fields).collect();
        let top = self.top();
        let list = match find(&top, PROFILES) {
            Some(list) if self.text[list.value.clone()].starts_with('[') => list.value.clone(),
            _ => {
                self.put(0..self.text.len(), PROFILES, &Value::Array(Vec::new()));
                let top = self.top();
                find(&top, PROFILES).map_or(0..0, |list| list.value.clone())
            }
        };
        let (unit, line) = self.layout();
        let (at, lead, inner, tail) = match self.spans().last() {
            Some(last) => {
                let lead = blanks_before(&self.text, last.start).to_owned();
                let members = members(&self.text, last.clone());
                let inner = members.first().map_or_else(String::new, |member| {
                    blanks_before(&self.text, member.key.start).to_owned()
                });
                let tail = blanks_before(&self.text, last.end - 1).to_owned();
                (last.end, format!(",{lead}"), inner, tail)
            }
            None => {
                let lead = format!("{line}{unit}{unit}");
                (list.start + 1, lead.clone(), format!("{lead}{unit}"), lead)
            }
        };
        let colon = if line.is_empty() { ":" } else { ": " };
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| format!("{inner}{}{colon}{value}", Value::from(name)))
            .collect();
        let mut text = format!("{lead}{{{}{tail}}}", fields.join(","));
        if self.spans().is_empty() {
            // Whatever blanks stood between the brackets.
            let end = list.end - 1;
            text.push_str(&format!("{line}{unit}"));
            self.text.replace_range(at..end, &text);
        } else {
            self.text.insert_str(at, &text);
        }
    }

    /// Sets a field of an object.
    fn put(&mut self, object: Range<usize>, field: &str, value: &Value) {
        let members = members(&self.text, object.clone());
        if let Some(member) = find(&members, field) {
            // What means the same may stay as somebody has written it.
            if self.value(&member.value) != *value {
                let at = member.value.clone();
                self.text.replace_range(at, &value.to_string());
            }
            return;
        }
        let key = Value::from(field);
        let (unit, line) = self.layout();
        match members.last() {
            Some(last) => {
                let lead = blanks_before(&self.text, last.key.start);
                let colon = &self.text[last.key.end..last.value.start];
                let text = format!(",{lead}{key}{colon}{value}");
                self.text.insert_str(last.value.end, &text);
            }
            // Only the whole file can be without a member: a profile has its name.
            None => {
                let colon = if line.is_empty() { ":" } else { ": " };
                let text = format!("{{{line}{unit}{key}{colon}{value}{line}}}");
                let start = object.start + blanks_after(&self.text[object.clone()]);
                let end = self.text[..object.end].trim_end().len();
                self.text.replace_range(start..end, &text);
            }
        }
    }

    /// Removes a field of an object, each time that it stands there.
    fn take(&mut self, object: Range<usize>, field: &str) {
        let mut object = object;
        loop {
            let members = members(&self.text, object.clone());
            let Some(at) = position(members.iter().map(|m| m.name.as_str()), field) else { return };
            let spans: Vec<_> = members.iter().map(|m| m.key.start..m.value.end).collect();
            let before = self.text.len();
            self.cut(&spans, at);
            object.end -= before - self.text.len();
        }
    }

    /// Removes one of several things with commas between them.
    fn cut(&mut self, spans: &[Range<usize>], at: usize) {
        let it = &spans[at];
        let range = match (at.checked_sub(1).map(|before| &spans[before]), spans.get(at + 1)) {
            (_, Some(next)) => it.start..next.start,
            (Some(before), None) => before.end..it.end,
            (None, None) => {
                let start = it.start - blanks_before(&self.text, it.start).len();
                start..it.end + blanks_after(&self.text[it.end..])
            }
        };
        self.text.replace_range(range, "");
    }

    /// One step of indentation, and what ends a line: as the file has it, or as the vendor writes it.
    fn layout(&self) -> (String, String) {
        let Some((_, rest)) = self.text.split_once('\n') else {
            let is_bare = self.top().is_empty();
            return if is_bare { ("\t".into(), "\n".into()) } else { Default::default() };
        };
        let line = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let unit: String = rest.chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
        (if unit.is_empty() { "\t".to_owned() } else { unit }, line.to_owned())
    }

    fn top(&self) -> Vec<Member> {
        members(&self.text, 0..self.text.len())
    }

    fn value(&self, span: &Range<usize>) -> Value {
        serde_json::from_str(&self.text[span.clone()]).unwrap_or_default()
    }

    /// Where the profiles stand.
    fn spans(&self) -> Vec<Range<usize>> {
        let top = self.top();
        let list = find(&top, PROFILES).map(|list| list.value.clone());
        list.map_or_else(Vec::new, |list| elements(&self.text, list))
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        let has = |span: &Range<usize>| self.entry(span).is_some_and(|entry| entry.name == name);
        self.spans().iter().position(has)
    }

    fn span_of(&self, name: &str) -> Option<Range<usize>> {
        self.index_of(name).map(|at| self.spans()[at].clone())
    }

    fn entry(&self, span: &Range<usize>) -> Option<Entry> {
        let fields: Vec<_> = members(&self.text, span.clone())
            .into_iter()
            .map(|member| (member.name, self.value(&member.value)))
            .collect();
        let name = fields.iter().rev().find(|(name, _)| name == NAME)?.1.as_str()?.to_owned();
        Some(Entry { name, fields, text: self.text[span.clone()].to_owned() })
    }
}

impl Default for Document {
    /// As the vendor's CLI would begin it.
    fn default() -> Self {
        Self { text: "{\n\t\"current\": \"\",\n\t\"profiles\": []\n}\n".to_owned() }
    }
}

/// A member of an object, and where in the whole text it stands.
struct Member {
    name: String,
    /// With its quotation marks.
    key: Range<usize>,
    value: Range<usize>,
}

fn find<'a>(members: &'a [Member], name: &str) -> Option<&'a Member> {
    position(members.iter().map(|member| member.name.as_str()), name).map(|at| &members[at])
}

/// The last of this name, or else the last one of a name that differs in case.
fn position<'a>(
    names: impl DoubleEndedIterator<Item = &'a str> + ExactSizeIterator + Clone,
    name: &str,
) -> Option<usize> {
    let exact = names.clone().rposition(|other| other == name);
    exact.or_else(|| names.clone().rposition(|other| other.eq_ignore_ascii_case(name)))
}

/// The members of an object; none of what is no object.
fn members(text: &str, span: Range<usize>) -> Vec<Member> {
    let object: Object<'_> = serde_json::from_str(&text[span.clone()]).unwrap_or_default();
    let mut at = span.start + 1;
    let mut members = Vec::with_capacity(object.0.len());
    for (name, raw) in object.0 {
        let value = place(text, raw);
        // Between two values there is nothing but blanks, a comma, and the name with its colon.
        let before = &text[at..value.start];
        let start = at + before.find('"').unwrap_or_default();
        let end = start + text[start..value.start].rfind('"').map_or(0, |last| last + 1);
        at = value.end;
        members.push(Member { name, key: start..end, value });
    }
    members
}

/// The elements of a list; none of what is no list.
fn elements(text: &str, span: Range<usize>) -> Vec<Range<usize>> {
    let list: Vec<&RawValue> = serde_json::from_str(&text[span]).unwrap_or_default();
    list.into_iter().map(|raw| place(text, raw)).collect()
}

/// Where a part of a text stands in it.
fn place(text: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    start..start + raw.get().len()
}

/// The blanks that end where `end` is.
fn blanks_before(text: &str, end: usize) -> &str {
    let before = &text[..end];
    &before[before.trim_end_matches([' ', '\t', '\r', '\n']).len()..]
}

/// How many blanks a text begins with.
fn blanks_after(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len()
}

/// The members of an object as they are written, each of them, in their order.
#[derive(Default)]
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Ok(Object::default())
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
