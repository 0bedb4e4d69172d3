//! A value of which there may be several.

use crate::Invalid;
use std::fmt;
use std::ops::Deref;

/// One value or several, in an order that counts. In JSON one is written as itself, several are a
/// list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneOrMore<T>(Vec<T>);

impl<T> OneOrMore<T> {
    /// Makes one of each.
    #[must_use]
    pub fn map<U>(&self, each: impl FnMut(&T) -> U) -> OneOrMore<U> {
        OneOrMore(self.0.iter().map(each).collect())
    }

    /// Makes one of each, or the first error.
    ///
    /// # Errors
    /// That error.
    pub fn try_map<U, E>(&self, each: impl FnMut(&T) -> Result<U, E>) -> Result<OneOrMore<U>, E> {
        self.0
            .iter()
            .map(each)
            .collect::<Result<_, E>>()
            .map(OneOrMore)
    }
}

impl<T> From<T> for OneOrMore<T> {
    fn from(one: T) -> Self {
        Self(vec![one])
    }
}

impl<T> TryFrom<Vec<T>> for OneOrMore<T> {
    type Error = Invalid;

    fn try_from(all: Vec<T>) -> Result<Self, Invalid> {
        if all.is_empty() {
            return Err(Invalid::Conflict(
                "the list is empty: name one at least".to_owned(),
            ));
        }
        Ok(Self(all))
    }
}

impl<T> Deref for OneOrMore<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// Whether it is this one alone.
impl<T: PartialEq> PartialEq<T> for OneOrMore<T> {
    fn eq(&self, one: &T) -> bool {
        self.0.as_slice() == std::slice::from_ref(one)
    }
}

/// `web1,web2`
impl<T: fmt::Display> fmt::Display for OneOrMore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, one) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{one}")?;
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
mod json {
    use super::OneOrMore;
    use serde::de::value::SeqAccessDeserializer;
    use serde::de::{Error, IntoDeserializer, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::fmt;
    use std::marker::PhantomData;

    impl<T: Serialize> Serialize for OneOrMore<T> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match &self.0[..] {
                [one] => one.serialize(to),
                all => all.serialize(to),
            }
        }
    }

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Either(PhantomData))
        }
    }

    /// Reads text and numbers as one value, a list as several. What is wrong with one is said in its
    /// own words, which serde's untagged enums do not.
    struct Either<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
        type Value = OneOrMore<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one or a list")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            T::deserialize(text.into_deserializer()).map(OneOrMore::from)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
            T::deserialize(number.into_deserializer()).map(OneOrMore::from)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, all: A) -> Result<Self::Value, A::Error> {
            let all: Vec<T> = Vec::deserialize(SeqAccessDeserializer::new(all))?;
            OneOrMore::try_from(all).map_err(A::Error::custom)
        }
    }
}

#[cfg(feature = "schema")]
impl<T: utoipa::PartialSchema> OneOrMore<T> {
    /// The form in JSON, as OpenAPI describes it.
    #[must_use]
    pub fn schema() -> utoipa::openapi::Schema {
        use utoipa::openapi::{ArrayBuilder, OneOfBuilder};
        let several = ArrayBuilder::new().items(T::schema()).min_items(Some(1));
        let either = OneOfBuilder::new().item(T::schema()).item(several);
        either.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn one_is_written_as_itself_and_more_as_a_list() {
        let read = |json| serde_json::from_str::<OneOrMore<Name>>(json).unwrap();
        for (json, shown) in [("\"web\"", "web"), ("[\"web\",\"db\"]", "web,db")] {
            assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
            assert_eq!(read(json).to_string(), shown);
        }
        let numbers: OneOrMore<u32> = serde_json::from_str("7").unwrap();
        assert_eq!(numbers, 7);
        assert_ne!(read("[\"web\",\"db\"]"), "web".parse::<Name>().unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_in_the_values_own_words() {
        for (json, why) in [
            ("[]", "the list is empty: name one at least"),
            ("\"a b\"", "`a b` is not a name"),
            ("[\"web\",\"a b\"]", "`a b` is not a name"),
            ("null", "expected one or a list"),
        ] {
            let error = serde_json::from_str::<OneOrMore<Name>>(json).unwrap_err();
            assert!(error.to_string().contains(why), "{json}: {error}");
        }
    }
}
