//! The one shape of a refusal.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kind of an error, for a program. The list is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A thing that was named does not exist (404).
    NotFound,
    /// The name, address or interface is taken (409).
    AlreadyExists,
    /// The request contradicts itself, or a value lies outside its range (400).
    Invalid,
    /// Something else still uses it (409).
    InUse,
    /// The daemon or the kernel cannot do this now (503).
    Unavailable,
    /// A fault of the daemon's own (500).
    Internal,
}

impl ErrorCode {
    /// The HTTP status that carries the code.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::AlreadyExists | Self::InUse => 409,
            Self::Invalid => 400,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The kind of the error, for a program.
    pub code: ErrorCode,
    /// The error for a person: names the thing, the value and the allowed range.
    pub message: String,
}

macro_rules! constructors {
    ($($name:ident $code:ident $doc:literal),+) => {
        impl ApiError {
            $(
                #[doc = $doc]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self { code: ErrorCode::$code, message: message.into() }
                }
            )+
        }
    };
}

constructors! {
    not_found NotFound "What was named does not exist.",
    already_exists AlreadyExists "The name, address or interface is taken.",
    invalid Invalid "The request contradicts itself, or a value lies outside its range.",
    in_use InUse "Something else still uses it.",
    unavailable Unavailable "The daemon or the kernel cannot do this now.",
    internal Internal "A fault of the daemon's own."
}

impl From<model::Invalid> for ApiError {
    fn from(error: model::Invalid) -> Self {
        Self::invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_travel_in_snake_case_and_have_a_status() {
        let error = ApiError::already_exists("network blue exists");
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"code":"already_exists","message":"network blue exists"}"#
        );
        let status = |code: ErrorCode| code.http_status();
        assert_eq!(
            [
                status(ErrorCode::NotFound),
                status(ErrorCode::AlreadyExists),
                status(ErrorCode::Invalid),
                status(ErrorCode::InUse),
                status(ErrorCode::Unavailable),
                status(ErrorCode::Internal)
            ],
            [404, 409, 400, 409, 503, 500]
        );
    }
}
