//! Escapes among the keys, as ssh has them: they begin with `~` on a new line.

use bytes::{BufMut as _, BytesMut};

const CTRL_Z: u8 = 0x1a;
/// What a terminal sends before and after a text that is pasted, if the remote side asks for it.
const PASTE: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];

/// The action of an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// To end the session.
    Leave,
    /// To list the escapes.
    Help,
    /// To stop as Ctrl-Z does.
    Suspend,
}

/// Takes escapes out of the keys.
#[derive(Debug)]
pub(crate) struct Escapes {
    /// What begins one.
    escape: Option<u8>,
    is_line_start: bool,
    /// Whether the last key may begin an escape.
    has_begun: bool,
    paste: Paste,
}

/// Whether keys are those of a text that is pasted, in which there are no escapes.
#[derive(Debug, Default)]
struct Paste {
    is_inside: bool,
    /// How much of the next mark has come.
    matched: usize,
}

impl Escapes {
    pub(crate) fn new(escape: Option<u8>) -> Self {
        Self { escape, is_line_start: true, has_begun: false, paste: Paste::default() }
    }

    /// The text of [`Action::Help`].
    pub(crate) fn help(&self) -> String {
        let c = self.name();
        let mut text = format!("Escapes, on a new line:\n  {c}.   end the session\n");
        if cfg!(unix) {
            text.push_str(&format!("  {c}^Z  suspend ecs-bridge\n"));
        }
        text + &format!("  {c}?   this list\n  {c}{c}   send {c}")
    }

    /// How the key is written that begins an escape.
    pub(crate) fn name(&self) -> String {
        match self.escape {
            Some(control @ 0..=0x1f) => format!("^{}", char::from(control + b'@')),
            Some(key) => char::from(key).to_string(),
            None => String::new(),
        }
    }

    /// Passes on what is not for this program. The keys behind [`Action::Leave`] are dropped.
    pub(super) fn filter(&mut self, keys: &[u8], to: &mut BytesMut, act: &dyn Fn(Action)) {
        for &key in keys {
            let is_pasted = self.paste.takes(key);
            if std::mem::take(&mut self.has_begun) {
                let action = match key {
                    b'.' => Some(Action::Leave),
                    b'?' => Some(Action::Help),
                    CTRL_Z if cfg!(unix) => Some(Action::Suspend),
                    _ => None,
                };
                if let Some(action) = action {
                    act(action);
                    if action == Action::Leave {
                        return;
                    }
                    continue;
                }
                let escape = self.escape.unwrap_or_default();
                to.put_u8(escape);
                if key != escape {
                    to.put_u8(key);
                }
            } else if self.is_line_start && Some(key) == self.escape && !is_pasted {
                self.has_begun = true;
                continue;
            } else {
                to.put_u8(key);
            }
            self.is_line_start = matches!(key, b'\r' | b'\n');
        }
    }
}

impl Paste {
    /// The next key. Whether it is pasted.
    fn takes(&mut self, key: u8) -> bool {
        let mark = PASTE[usize::from(self.is_inside)];
        if mark.get(self.matched) == Some(&key) {
            self.matched += 1;
        } else {
            self.matched = usize::from(mark.first() == Some(&key));
        }
        if self.matched == mark.len() {
            *self = Self { is_inside: !self.is_inside, matched: 0 };
        }
        self.is_inside
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What is passed on and done, whether the keys come at once or one by one.
    fn filtered(escape: Option<u8>, keys: &[u8]) -> (Vec<u8>, Vec<Action>) {
        let play = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut escapes, mut to) = (Escapes::new(escape), BytesMut::new());
            let actions = RefCell::new(Vec::new());
            for piece in pieces {
                escapes.filter(piece, &mut to, &|action| actions.borrow_mut().push(action));
                if actions.borrow().last() == Some(&Action::Leave) {
                    break;
                }
            }
            (to.to_vec(), actions.into_inner())
        };
        let at_once = play(&mut [keys].into_iter());
        assert_eq!(play(&mut keys.chunks(1)), at_once, "{:?}", String::from_utf8_lossy(keys));
        at_once
    }

    #[test]
    fn escapes_begin_on_a_new_line_and_nowhere_else() {
        use Action::{Help, Leave};
        for (keys, passed, actions) in [
            (&b"~."[..], &b""[..], &[Leave][..]),
            (b"ls\r~.more", b"ls\r", &[Leave]),
            (b"ls\n~?~.", b"ls\n", &[Help, Leave]),
            (b"~~", b"~", &[]),
            (b"~~.", b"~.", &[]),
            (b"a~.", b"a~.", &[]),
            (b"cd ~\r~x", b"cd ~\r~x", &[]),
            (b"~\r~.", b"~\r", &[Leave]),
            (b"\x03\x1a\x1c\xc3\xa9~.", b"\x03\x1a\x1c\xc3\xa9~.", &[]),
            (b"~", b"", &[]),
        ] {
            assert_eq!(filtered(Some(b'~'), keys), (passed.to_vec(), actions.to_vec()), "{keys:?}");
        }
        #[cfg(unix)]
        assert_eq!(filtered(Some(b'~'), b"~\x1ax"), (b"x".to_vec(), vec![Action::Suspend]));
    }

    #[test]
    fn another_character_or_none_begins_escapes() {
        assert_eq!(filtered(None, b"~.\r~?"), (b"~.\r~?".to_vec(), vec![]));
        assert_eq!(filtered(Some(0x1d), b"~.\r\x1d?"), (b"~.\r".to_vec(), vec![Action::Help]));
        assert!(Escapes::new(Some(0x1d)).help().contains("^].   end the session"));
    }

    #[test]
    fn what_is_pasted_has_no_escapes() {
        let pasted = b"\x1b[200~a\n~.\n~?\x1b[201~";
        assert_eq!(filtered(Some(b'~'), pasted), (pasted.to_vec(), vec![]));
        let after = [&pasted[..], b"\r~."].concat();
        assert_eq!(filtered(Some(b'~'), &after).1, [Action::Leave]);
        assert_eq!(filtered(Some(b'~'), b"\x1b\x1b[200~\n~.").1, []);
        assert_eq!(filtered(Some(b'~'), b"\x1b[201~\n~.").1, [Action::Leave]);
    }
}
