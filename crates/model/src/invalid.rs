//! Why a value is refused: the value, and what would have been accepted.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// A value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A word that is in no list.
    #[error("unknown {what} `{word}`: allowed are {allowed}")]
    Word {
        /// The values that are allowed.
        what: &'static str,
        /// The word.
        word: String,
        /// The words that are in the list.
        allowed: String,
    },
    /// Text of another form.
    #[error("`{text}` is not {what}: {form}")]
    Form {
        /// The values that are allowed.
        what: &'static str,
        /// The text, cut short where it is long.
        text: String,
        /// The form that is allowed.
        form: &'static str,
    },
    /// A number outside its range.
    #[error("{key} is {value}; allowed are {min} to {max}")]
    Range {
        /// The setting.
        key: &'static str,
        /// The number.
        value: u64,
        /// The lowest accepted.
        min: u64,
        /// The highest accepted.
        max: u64,
    },
    /// Text that names no protocol.
    #[error(transparent)]
    Protocol(#[from] wire::ParseProtocolError),
    /// Values that contradict each other, or say nothing.
    #[error("{0}")]
    Conflict(String),
}

impl Invalid {
    /// Refuses `text`, which is not `what`, whose form is `form`.
    pub(crate) fn form(what: &'static str, text: &str, form: &'static str) -> Self {
        Self::Form {
            what,
            text: shortened(text),
            form,
        }
    }

    /// Reads a number of the setting `key`, which lies in `range`.
    pub(crate) fn number<T: Into<u64> + TryFrom<u64> + Copy>(
        key: &'static str,
        text: &str,
        range: &RangeInclusive<T>,
    ) -> Result<T, Self> {
        let (min, max) = ((*range.start()).into(), (*range.end()).into());
        let number: u64 = text.parse().map_err(|_| {
            Self::Conflict(format!(
                "{key} is `{}`; allowed are {min} to {max}",
                shortened(text)
            ))
        })?;
        let value = T::try_from(number).ok();
        let value = value.filter(|_| (min..=max).contains(&number));
        value.ok_or(Self::Range {
            key,
            value: number,
            min,
            max,
        })
    }

    /// Refuses a `value` of the setting `key` outside `range`.
    ///
    /// # Errors
    /// [`Invalid::Range`] names the setting, its value and the range.
    pub fn unless_in<T: Into<u64> + Copy>(
        key: &'static str,
        value: T,
        range: &RangeInclusive<T>,
    ) -> Result<(), Self> {
        let (value, min, max) = (value.into(), (*range.start()).into(), (*range.end()).into());
        if (min..=max).contains(&value) {
            return Ok(());
        }
        Err(Self::Range {
            key,
            value,
            min,
            max,
        })
    }
}

/// Text as it is quoted in a message.
fn shortened(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    short.escape_debug().to_string()
}

/// `a, b, c`.
pub(crate) fn listed(words: impl IntoIterator<Item: Display>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| word.to_string()).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_named_with_the_value() {
        let mtu = |value: u32| Invalid::unless_in("mtu", value, &(576..=65_535));
        assert_eq!(
            mtu(70_000).unwrap_err().to_string(),
            "mtu is 70000; allowed are 576 to 65535"
        );
        assert_eq!(mtu(576), Ok(()));
    }
}
