//! Parts of the documentation that are generated from the tests.

use std::fs;
use std::path::Path;

const BEGIN: &str =
    "<!-- generated: UPDATE_DOCS=1 cargo test --test e2e the_docs_have_this_table -->\n";
const END: &str = "<!-- end of the generated part -->\n";

/// Compares the generated part of a page with what it has to be. With `UPDATE_DOCS` set, writes it.
pub(crate) fn check(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let before = fs::read_to_string(&path).unwrap();
    let (head, rest) = before.split_once(BEGIN).expect("the page marks where the part begins");
    let (_, tail) = rest.split_once(END).expect("the page marks where the part ends");
    let after = format!("{head}{BEGIN}{text}{END}{tail}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, after).unwrap();
        return;
    }
    assert!(
        before == after,
        "{page} is not what the tests say; regenerate it:\n  \
         UPDATE_DOCS=1 cargo test --test e2e the_docs_have_this_table\nThe table:\n{text}"
    );
}
