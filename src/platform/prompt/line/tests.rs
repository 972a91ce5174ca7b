//! Tests of `line`.

use super::*;

fn typed(bytes: &[u8]) -> (String, String, Option<Fed>) {
    let (mut line, mut screen) = (Line::default(), String::new());
    for byte in bytes {
        match line.push(*byte) {
            Fed::Shown(text) => screen.push_str(&text),
            end => return (line.into_text().to_string(), screen, Some(end)),
        }
    }
    (line.into_text().to_string(), screen, None)
}

#[test]
fn a_line_is_what_was_typed() {
    for (bytes, text) in [
        (&b"cn-hangzhou\r"[..], "cn-hangzhou"),
        (b"a b\n", "a b"),
        ("né 中\n".as_bytes(), "né 中"),
        (b"\n", ""),
    ] {
        assert_eq!(typed(bytes), (text.to_owned(), text.to_owned(), Some(Fed::Done)));
    }
}

#[test]
fn it_can_be_corrected() {
    let one = "\u{8} \u{8}";
    let (text, screen, _) = typed("ab中\x7f\x08c\n".as_bytes());
    assert_eq!((text, screen), ("ac".to_owned(), format!("ab中{}c", one.repeat(3))));
    assert_eq!(typed(b"secret\x15x\n").0, "x");
    assert_eq!(typed(b"one two  \x17\x17x\n").0, "x");
    assert_eq!(typed(b"\x7f\x15\x17\n").1, "", "there is nothing to take away");
}

#[test]
fn keys_that_are_no_text_leave_no_trace() {
    for keys in [
        &b"\x1b[A"[..],
        b"\x1b[1;5D",
        b"\x1bOP",
        b"\x1bx",
        b"\x1b[200~",
        b"\t",
        b"\x00\x01\x1f",
        b"\xff",
        b"\xe4\xb8",
        b"\xc2\x85",
    ] {
        let (text, screen, _) = typed(&[b"a", keys, b"b\n"].concat());
        assert_eq!((text.as_str(), screen.as_str()), ("ab", "ab"), "{keys:?}");
    }
}

#[test]
fn the_end_of_input_counts_on_an_empty_line_only() {
    assert_eq!(typed(b"\x04").2, Some(Fed::Closed));
    assert_eq!(typed(b"a\x04b\n"), ("ab".to_owned(), "ab".to_owned(), Some(Fed::Done)));
    assert_eq!(typed(b"a\x7f\x04").2, Some(Fed::Closed));
}

#[test]
fn there_is_an_end_to_it() {
    let long = vec![b'x'; LONGEST];
    assert_eq!(typed(&[&long[..], b"\n"].concat()).0.len(), LONGEST);
    assert_eq!(typed(&[&long[..], b"x"].concat()).2, Some(Fed::TooLong));
}
