//! Tests of `marks`.

use super::*;

#[test]
fn what_was_put_in_comes_out_again() {
    for text in [
        &b""[..],
        b"Host x\n    User me\n",
        b"Host x\r\n    User me\r\n",
        b"# no line end",
        b"\n\n",
        b"\xef\xbb\xbfHost \xff\n",
    ] {
        let one = put(Some(text), "Include a\n").unwrap();
        assert_eq!(put(Some(&one), "Include a\n").unwrap(), one, "once more is the same");
        let (mark, rest) = byte_order_mark(text);
        let begin = [mark, BEGIN.as_bytes()].concat();
        assert!(one.ends_with(rest) && one.starts_with(&begin));
        let parts = take_apart(&one).unwrap();
        assert!(!parts.part.as_ref().unwrap().is_edited);
        assert_eq!(parts.part.unwrap().lines, ["Include a"]);
        let cr = text.windows(2).any(|two| two == b"\r\n");
        assert_eq!(one.windows(2).any(|two| two == b"\r\n"), cr);
        let two = put(Some(&one), "Include b\nInclude c").unwrap();
        assert_eq!(take_out(&two).unwrap().unwrap(), text);
    }
}

#[test]
fn utf_16_is_refused_and_nothing_is_taken_out_of_it() {
    for text in [&b"\xff\xfeH\0o\0"[..], b"\xfe\xff\0H\0o"] {
        assert_eq!(put(Some(text), "x"), Err(Error::Utf16));
        assert_eq!(take_out(text).unwrap().unwrap(), text);
    }
}

#[test]
fn a_file_that_was_made_goes_and_one_that_was_empty_stays() {
    let made = put(None, "x").unwrap();
    assert_eq!(take_out(&made).unwrap(), None);
    let again = put(Some(&made), "y").unwrap();
    assert_eq!(take_out(&again).unwrap(), None);
    let kept = [&again[..], b"Host mine\n"].concat();
    assert_eq!(take_out(&kept).unwrap().unwrap(), b"Host mine\n");
    let empty = put(Some(b""), "x").unwrap();
    assert_eq!(take_out(&empty).unwrap().unwrap(), b"");
    assert_eq!(take_out(b"Host x\n").unwrap().unwrap(), b"Host x\n");
}

#[test]
fn it_stays_where_it_was_put_but_not_within_a_block() {
    let text = put(Some(b"Host x\n"), "a").unwrap();
    let above = [b"# mine\n", &text[..]].concat();
    let new = put(Some(&above), "b").unwrap();
    assert!(new.starts_with(b"# mine\n# >>>") && new.ends_with(b"<<<\nHost x\n"));
    for head in [&b"Host y\n"[..], b"\tmatch=all\n"] {
        let below = [head, &text[..]].concat();
        let new = put(Some(&below), "b").unwrap();
        assert!(new.starts_with(BEGIN.as_bytes()));
        assert!(new.ends_with(&[head, b"Host x\n"].concat()));
    }
    let other = [b"HostKeyAlias y\n", &text[..]].concat();
    assert!(put(Some(&other), "b").unwrap().starts_with(b"HostKeyAlias"));
}

#[test]
fn edits_are_seen() {
    let text = String::from_utf8(put(None, "Host a\n    User b\n").unwrap()).unwrap();
    let edited = text.replace("User b", "User c");
    let parts = take_apart(edited.as_bytes()).unwrap();
    let part = parts.part.unwrap();
    assert!(part.is_edited);
    assert_eq!(part.lost("Host a\n    User b\n"), ["    User c"]);
    assert_eq!(part.lost("Host a\n    User c\n"), Vec::<&str>::new());
    let crlf = text.replace('\n', "\r\n");
    assert!(!take_apart(crlf.as_bytes()).unwrap().part.unwrap().is_edited);
}

#[test]
fn marks_that_do_not_fit_are_left_alone() {
    let good = String::from_utf8(put(None, "x").unwrap()).unwrap();
    let begin = good.lines().next().unwrap();
    for bad in [
        format!("{begin}\nx\n"),
        format!("{END}\n"),
        format!("{good}{good}"),
        format!("{begin}\n{good}"),
        format!("{good}{END}\n"),
        format!("{END}\n{good}"),
    ] {
        assert_eq!(put(Some(bad.as_bytes()), "y"), Err(Error::Unpaired), "{bad}");
        assert_eq!(take_out(bad.as_bytes()), Err(Error::Unpaired), "{bad}");
    }
}

#[test]
fn a_byte_order_mark_stays_the_first() {
    let text = b"\xef\xbb\xbfHost x\r\n    User me\r\n";
    let one = put(Some(text), "Include a\n").unwrap();
    assert_eq!(one.windows(3).filter(|three| *three == BYTE_ORDER_MARK).count(), 1);
    assert!(is_begin(std::str::from_utf8(&one).unwrap().lines().next().unwrap()));
    let two = put(Some(&one), "Include b\n").unwrap();
    assert!(two.starts_with(BYTE_ORDER_MARK) && two.ends_with(&text[3..]));
    assert_eq!(take_out(&two).unwrap().unwrap(), text);
    // A part below a Host line goes to the top, and the mark stays above it.
    let part = put(Some(b""), "a").unwrap();
    let below = [&text[..], &part].concat();
    let new = put(Some(&below), "b").unwrap();
    assert!(
        new.starts_with(&[BYTE_ORDER_MARK, BEGIN.as_bytes()].concat()) && new.ends_with(&text[3..])
    );
}

proptest::proptest! {
    #[test]
    fn any_file_comes_back_as_it_was(
        text in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        lines in "((Host|Match) x\r?\n|# y\n| z\n){0,4}",
        bodies in ("[ -~\n]{0,40}", "[ -~\n]{0,40}"),
    ) {
        let text = [lines.as_bytes(), &text].concat();
        proptest::prop_assume!(without_mark(&text).is_ok());
        let once = put(Some(&text), &bodies.0).unwrap();
        let twice = put(Some(&once), &bodies.1).unwrap();
        let again = put(Some(&twice), &bodies.1).unwrap();
        proptest::prop_assert_eq!(&again, &twice);
        proptest::prop_assert_eq!(take_out(&twice).unwrap().unwrap(), text);
    }
}
