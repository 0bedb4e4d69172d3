//! Closed lists of words: an enum whose values are spelled the same in text, JSON and OpenAPI.

/// Declares an enum of words. The text after its name says what a word of it is.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $type:ident ($what:literal) {
            $($(#[$doc:meta])* $value:ident = $word:tt),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        pub enum $type {
            $(
                $(#[$doc])*
                #[cfg_attr(feature = "schema", schema(rename = $word))]
                $value
            ),+
        }

        impl $type {
            /// Every value with its word.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$value, $word)),+];

            /// Every word.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Returns the value's word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word),+
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().find(|(_, word)| *word == text);
                known.map(|(value, _)| *value).ok_or_else(|| $crate::Invalid::Word {
                    what: $what,
                    word: text.to_owned(),
                    allowed: $crate::invalid::listed(Self::WORDS),
                })
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        text_in_json!($type);
    };
}

/// Makes a type travel in JSON as the text that it shows and reads.
macro_rules! text_in_json {
    ($type:ty) => {
        #[cfg(feature = "serde")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
