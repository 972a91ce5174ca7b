use proptest::prelude::*;
use serde_json::json;

use super::*;

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

fn text(document: &Document) -> &str {
    std::str::from_utf8(document.bytes()).unwrap()
}

/// As the vendor's CLI writes it, with fields that nobody here knows.
const VENDOR: &str = "{\n\t\"current\": \"a\",\n\t\"profiles\": [\n\t\t{\n\t\t\t\"name\": \"a\",\n\t\t\t\
    \"mode\": \"AK\",\n\t\t\t\"access_key_id\": \"i\\u003c\",\n\t\t\t\"new\": {\"x\": [1.50, 1e3]},\n\t\t\t\
    \"region_id\": \"cn-a\"\n\t\t}\n\t],\n\t\"meta_path\": \"\"\n}";

#[test]
fn a_field_is_changed_where_it_stands() {
    let mut it = document(VENDOR);
    it.set("a", &[("region_id", Some("cn-b".into()))]).unwrap();
    assert_eq!(text(&it), VENDOR.replace("cn-a", "cn-b"));
    it.set("a", &[("region_id", Some("cn-a".into())), ("access_key_id", Some("i<".into()))])
        .unwrap();
    assert_eq!(text(&it), VENDOR, "what means the same stays as it was written");
    it.set_current("b");
    assert_eq!(text(&it), VENDOR.replace("\"current\": \"a\"", "\"current\": \"b\""));
}

#[test]
fn a_new_field_looks_like_the_others() {
    let mut it = document(VENDOR);
    it.set("a", &[("expired_seconds", Some(900.into())), ("x", None)]).unwrap();
    let last = "\"region_id\": \"cn-a\"";
    let with = format!("{last},\n\t\t\t\"expired_seconds\": 900");
    assert_eq!(text(&it), VENDOR.replace(last, &with));
    it.set("a", &[("expired_seconds", None)]).unwrap();
    assert_eq!(text(&it), VENDOR, "and can be taken out again");
}

#[test]
fn a_new_profile_looks_like_the_others() {
    let fields = [("mode", Some(json!("AK"))), ("gone", None), ("n", Some(json!(1)))];
    let mut it = document(VENDOR);
    it.set("b \"é", &fields).unwrap();
    let end = "\n\t\t}\n\t],";
    let with = "\n\t\t},\n\t\t{\n\t\t\t\"name\": \"b \\\"é\",\n\t\t\t\"mode\": \"AK\",\n\t\t\t\"n\": 1\n\t\t}\n\t],";
    assert_eq!(text(&it), VENDOR.replace(end, with));
    assert_eq!(it.delete("b \"é"), 1);
    assert_eq!(text(&it), VENDOR);

    let mut it = Document::default();
    it.set("b", &fields).unwrap();
    it.set_current("b");
    assert_eq!(
        text(&it),
        "{\n\t\"current\": \"b\",\n\t\"profiles\": [\n\t\t{\n\t\t\t\"name\": \"b\",\n\t\t\t\"mode\": \"AK\",\n\t\t\t\"n\": 1\n\t\t}\n\t]\n}\n"
    );
}

#[test]
fn other_styles_are_kept() {
    for (before, after) in [
        (r#"{"profiles":[{"name":"a"}]}"#, r#"{"profiles":[{"name":"a"},{"name":"b","n":1}]}"#),
        (r#"{"profiles":[]}"#, r#"{"profiles":[{"name":"b","n":1}]}"#),
        (r#"{"profiles":null,"x":1}"#, r#"{"profiles":[{"name":"b","n":1}],"x":1}"#),
        (r#"{"x":1}"#, r#"{"x":1,"profiles":[{"name":"b","n":1}]}"#),
        (
            "{\r\n  \"x\": 1\r\n}\r\n",
            "{\r\n  \"x\": 1,\r\n  \"profiles\": [\r\n    {\r\n      \"name\": \"b\",\r\n      \"n\": 1\r\n    }\r\n  ]\r\n}\r\n",
        ),
        (
            " { } ",
            "{\n\t\"profiles\": [\n\t\t{\n\t\t\t\"name\": \"b\",\n\t\t\t\"n\": 1\n\t\t}\n\t]\n} ",
        ),
    ] {
        let mut it = document(before);
        it.set("b", &[("n", Some(1.into()))]).unwrap();
        assert_eq!(text(&it), after);
        assert_eq!(it.profile("b").unwrap().text("n").as_deref(), Some("1"));
    }
}

#[test]
fn names_that_stand_there_twice() {
    let before = r#"{"profiles":[{"name":"a","k":1,"k":2},{"name":"a","k":3},{"name":"c","K":4}]}"#;
    let mut it = document(before);
    assert_eq!(it.profile("a").unwrap().text("k").as_deref(), Some("2"), "as it is read: the last");
    it.set("a", &[("k", Some(9.into()))]).unwrap();
    assert_eq!(text(&it), before.replace("\"k\":1,\"k\":2", "\"k\":9"));
    it.set("a", &[("k", None)]).unwrap();
    assert!(text(&it).starts_with(r#"{"profiles":[{"name":"a"},{"name":"a","k":3}"#));
    it.set("c", &[("k", Some(5.into()))]).unwrap();
    assert!(text(&it).ends_with(r#"{"name":"c","K":5}]}"#), "the vendor's tools take it for one");
    assert_eq!(it.delete("a"), 2);
    assert_eq!(text(&it), r#"{"profiles":[{"name":"c","K":5}]}"#);
    assert_eq!(it.delete("c"), 1);
    assert_eq!(text(&it), r#"{"profiles":[]}"#);
    assert_eq!(it.delete("c"), 0);
}

#[test]
fn what_is_not_understood_is_refused() {
    for (content, problem) in [
        (&b"{"[..], "not JSON"),
        (b"{\"a\": \"\xff\"}", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"[]", "not an object"),
        (b"\"x\"", "not an object"),
        (b"{\"profiles\":{}}", "not a list"),
        (b"{\"profiles\":[1]}", "not a profile"),
        (b"{\"profiles\":[{\"name\":{}}]}", "not a profile"),
        (b"{\"current\":[]}", "not a name"),
        (b"\xff\xfe{\0", "UTF-16"),
    ] {
        let error = Document::parse(content).map(|_| ()).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    let mut it = document(r#"{"profiles":[{"name":"a","region_id":{"v2":1}}]}"#);
    assert_eq!(it.set("a", &[("region_id", Some("x".into()))]), Err("region_id".to_owned()));
}

#[test]
fn nothing_and_a_mark_before_the_text_are_tolerated() {
    for empty in [&b""[..], b" \n", b"\xef\xbb\xbf"] {
        let it = Document::parse(empty).unwrap();
        assert_eq!(text(&it), text(&Document::default()));
    }
    let it = Document::parse(b"\xef\xbb\xbf{\"current\":\"x\"}").unwrap();
    assert_eq!((it.current().as_deref(), text(&it)), (Some("x"), r#"{"current":"x"}"#));
}

/// What stands in a file beside its profiles, and in each of these, as it is written.
fn parts(document: &Document) -> Vec<Vec<(String, String)>> {
    let Document { top, profiles, .. } = self::document(text(document));
    let members = |object: &Object| {
        let members = object.iter().filter(|(name, _)| *name != PROFILES);
        members.map(|(name, raw)| (name.clone(), raw.get().to_owned())).collect()
    };
    [&top].into_iter().chain(&profiles).map(members).collect()
}

fn field(document: &Document, profile: &str, field: &str) -> Option<Value> {
    document.profile(profile)?.get(field).cloned()
}

/// JSON as somebody might write it: any order, names twice, odd numbers, blanks of all kinds.
fn value() -> impl Strategy<Value = String> {
    let blank = "[ \t\r\n]{0,2}";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,3})?([eE][+-]?[0-9])?",
        string(),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let member = (blank, string(), blank, blank, inner.clone(), blank)
            .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
        let element = (blank, inner, blank).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        prop_oneof![
            prop::collection::vec(member, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
            prop::collection::vec(element, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-e \\PC]{0,6}".prop_map(|text| Value::from(text).to_string()),
        Just(r#""\u0041\/\n\ud83d\ude00\"\\""#.to_owned()),
        Just(r#""region_id""#.to_owned()),
        Just(r#""a:,{}[]""#.to_owned()),
    ]
}

/// A member whose name is none of those that a test looks for.
fn stranger() -> impl Strategy<Value = String> {
    let blank = "[ \t\r\n]{0,3}";
    (blank, "[a-c]{1,2}|é|\\\\u0061z|\\\\\"", blank, blank, value(), blank)
        .prop_map(|(a, name, b, c, value, d)| format!("{a}\"{name}\"{b}:{c}{value}{d}"))
}

prop_compose! {
    /// Members of a stranger's before and behind others.
    fn around()(
        before in prop::collection::vec(stranger(), 0..4),
        blanks in ("[ \t\r\n]{0,3}", "[ \t\r\n]{0,3}"),
        after in prop::collection::vec(stranger(), 0..4),
    ) -> (String, String) {
        let join = |all: &[String]| all.join(",");
        let (mut head, mut tail) = (join(&before), join(&after));
        if !head.is_empty() { head.push(','); }
        head.push_str(&blanks.0);
        tail = if tail.is_empty() { blanks.1.clone() } else { format!("{},{tail}", blanks.1) };
        (head, tail)
    }
}

proptest! {
    #[test]
    fn whatever_else_is_there_stays_as_it_is_written(
        top in around(),
        profile in around(),
        other in prop::collection::vec(stranger(), 0..3),
        old in "[a-z]{1,4}",
        new in "\\PC{0,6}",
    ) {
        let (old, new) = (Value::from(format!("cn-{old}")), Value::from(new));
        let other = other.join(",");
        let file = |region: &str| {
            format!(
                "{{{}\"profiles\" :\t[{{{other}}}, {{{}\"name\": \"p\",\"region_id\"  : {region}{}}} ]{}}}\n",
                top.0, profile.0, profile.1, top.1
            )
        };
        let before = file(&old.to_string());
        let mut it = document(&before);
        prop_assert_eq!(field(&it, "p", "region_id"), Some(old.clone()));

        it.set("p", &[("region_id", Some(old.clone())), ("zz", None)]).unwrap();
        prop_assert_eq!(text(&it), &before, "nothing is changed, byte for byte");
        it.set("p", &[("region_id", Some(new.clone()))]).unwrap();
        prop_assert_eq!(parts(&it), parts(&document(&file(&new.to_string()))));

        // A field that is new is put behind the others, and leaves no trace when it goes.
        let mut it = document(&before);
        it.set("p", &[("zz", Some(new.clone()))]).unwrap();
        prop_assert_eq!(field(&it, "p", "zz"), Some(new.clone()));
        let names: Vec<_> = it.profile("p").unwrap().names().into_iter().map(str::to_owned).collect();
        prop_assert_eq!(names.last().map(String::as_str), Some("zz"));
        it.set("p", &[("zz", None)]).unwrap();
        prop_assert_eq!(parts(&it), parts(&document(&before)));

        // So is a profile.
        let mut it = document(&before);
        it.set("q", &[("zz", Some(new.clone()))]).unwrap();
        prop_assert_eq!(field(&it, "q", "zz"), Some(new.clone()));
        prop_assert_eq!(it.delete("q"), 1);
        prop_assert_eq!(parts(&it), parts(&document(&before)));

        // And what becomes current.
        let mut it = document(&before);
        it.set_current("p");
        prop_assert_eq!(it.current(), Some("p".to_owned()));
        prop_assert_eq!(it.profiles().len(), document(&before).profiles().len());
    }
}
