//! A measured figure, its bound, and the row that tells them.

use std::fmt;

/// See the module.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) bound: Bound,
    pub(crate) unit: &'static str,
}

/// Where a figure must lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    /// Above the rows.
    pub(crate) const HEAD: &'static str =
        "figure                                                      value         bound  unit";

    pub(crate) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.value <= bound,
            Bound::AtLeast(bound) => self.value >= bound,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            Bound::AtMost(bound) => ("<=", bound),
            Bound::AtLeast(bound) => (">=", bound),
        };
        let verdict = if self.is_met() { "ok" } else { "MISSED" };
        let Self {
            name, value, unit, ..
        } = self;
        write!(
            f,
            "{name:<52} {value:>12.2}  {sign} {bound:>10.2}  {unit:<8} {verdict}"
        )
    }
}
