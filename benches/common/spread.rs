//! A median, and the least and the most, with as many decimals as the format asks for.

use std::fmt;

/// What was measured several times, sorted.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, last) = (self.0[self.0.len() / 2], self.0.len() - 1);
        let decimals = f.precision().unwrap_or(0);
        write!(f, "{median:.decimals$} ({:.decimals$}–{:.decimals$})", self.0[0], self.0[last])
    }
}
