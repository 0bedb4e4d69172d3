//! A stand-in for the daemon, for tests of those who call it: it answers every call of the table
//! with what one function says, in JSON.

use crate::{ApiError, Name};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use tokio::sync::mpsc;

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The call's name in the table.
    pub call: &'static str,
    /// The name in its path.
    pub name: Option<Name>,
    /// Its query or its body; `null` when it has none.
    pub request: Value,
}

impl Asked {
    pub(crate) fn new(call: &'static str) -> Self {
        Self {
            call,
            name: None,
            request: Value::Null,
        }
    }

    pub(crate) fn named(self, name: &Name) -> Self {
        Self {
            name: Some(name.clone()),
            ..self
        }
    }

    pub(crate) fn request(self, request: &impl Serialize) -> Self {
        let request = serde_json::to_value(request).expect("it came as JSON");
        Self { request, ..self }
    }

    /// The query or body as a value of its type.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self) -> T {
        serde_json::from_value(self.request.clone()).expect("the call has a request of this type")
    }
}

type Answer = dyn Fn(&Asked) -> Result<Value, ApiError> + Send + Sync;

/// Answers every call with what a function says: the answer as JSON, of a stream an array.
pub struct Stub(Box<Answer>);

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stub")
    }
}

impl Stub {
    /// Answers with what `answer` says.
    pub fn new(answer: impl Fn(&Asked) -> Result<Value, ApiError> + Send + Sync + 'static) -> Self {
        Self(Box::new(answer))
    }

    pub(crate) fn ok<T: DeserializeOwned>(&self, asked: &Asked) -> Result<T, ApiError> {
        let answer = (self.0)(asked)?;
        Ok(serde_json::from_value(answer).expect("the answer has the call's type"))
    }

    pub(crate) fn created<T: DeserializeOwned>(&self, asked: &Asked) -> Result<T, ApiError> {
        self.ok(asked)
    }

    pub(crate) fn done(&self, asked: &Asked) -> Result<(), ApiError> {
        self.ok(asked)
    }

    pub(crate) fn stream<T: DeserializeOwned>(
        &self,
        asked: &Asked,
    ) -> Result<mpsc::Receiver<T>, ApiError> {
        let values: Vec<T> = self.ok(asked)?;
        let (sender, receiver) = mpsc::channel(values.len().max(1));
        for value in values {
            sender.try_send(value).expect("there is room for all");
        }
        Ok(receiver)
    }
}
