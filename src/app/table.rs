//! Rows for people: columns that stand below each other, whatever script they are in.

use std::fmt;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: usize = 2;

/// A table with a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of nothing but its head.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row, without the characters that control a terminal.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| shown(cell.as_ref())).collect());
    }
}

/// A text without characters that control the terminal, or the direction of what stands beside them.
/// An empty one is a dash.
fn shown(text: &str) -> String {
    let is_shown = |c: &char| !c.is_control() && c.width() != Some(0) || is_mark(*c);
    let text: String = text.chars().filter(is_shown).collect();
    let text = text.trim();
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Marks have no width of their own, since they are part of the character before.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}')
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            for (column, cell) in row.iter().enumerate() {
                f.write_str(cell)?;
                if column + 1 < row.len() {
                    let pad = widths[column] - cell.width() + GAP;
                    write!(f, "{:pad$}", "")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_in_any_script() {
        let mut table = Table::new(&["ID", "NAME", "STATUS"]);
        table.row(["i-1", "数据库", "Running"]);
        table.row(["i-22", "web", ""]);
        table.row(["i-3", "e\u{301}", "Stopped"]);
        let lines: Vec<_> = table.to_string().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "ID    NAME    STATUS",
                "i-1   数据库  Running",
                "i-22  web     -",
                "i-3   e\u{301}       Stopped",
            ]
        );
    }

    #[test]
    fn what_would_confuse_a_terminal_is_left_out() {
        for (text, left) in [
            ("a\u{1b}[31mb", "a[31mb"),
            ("a\nb\tc\r", "abc"),
            ("a\u{202e}b\u{200b}c", "abc"),
            ("\u{7}", "-"),
            ("  a b ", "a b"),
        ] {
            assert_eq!(shown(text), left);
        }
    }
}
