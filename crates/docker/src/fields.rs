//! Fields as dockerd leaves them empty: Go writes `null` and "" where there is nothing.

use serde::{Deserialize, Deserializer};
use std::fmt::Display;
use std::str::FromStr;

/// `null` is the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// "" and `null` are nothing.
pub(crate) fn empty_is_none<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse()
            .map_err(|error| serde::de::Error::custom(format_args!("`{text}`: {error}")))
    })
    .transpose()
}
