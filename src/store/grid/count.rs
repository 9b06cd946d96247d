//! How many keys: exactly, or at least.

use std::fmt;

use super::MOST;

/// How many keys: exact, or at least so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// The number.
    pub number: usize,
    /// Whether there may be more.
    pub or_more: bool,
}

impl Count {
    pub(in crate::store) fn capped(number: usize) -> Self {
        Self { number: number.min(MOST), or_more: number > MOST }
    }

    /// Both together.
    #[must_use]
    pub(in crate::store) fn plus(self, other: Self) -> Self {
        let sum = self.number + other.number;
        Self { number: sum.min(MOST), or_more: self.or_more || other.or_more || sum > MOST }
    }

    /// Whether there is none at all.
    pub const fn is_none(self) -> bool {
        self.number == 0 && !self.or_more
    }
}

impl fmt::Display for Count {
    /// `4,310`, `10 000+`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.or_more && self.number == MOST {
            return f.write_str("10 000+");
        }
        let digits = self.number.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        f.write_str(if self.or_more { "+" } else { "" })
    }
}

/// How many keys each status has, in the order of [`Tab::ALL`].
pub type Counts = [Count; 6];
