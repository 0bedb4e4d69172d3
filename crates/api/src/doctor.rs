//! What is not as it should be, and how to put it right.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// Where it is: a port, a namespace, a NIC.
    pub r#where: String,
    /// What puts it right, as a command.
    pub undo: String,
}

/// A finding after somebody tried to put it right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cleaned {
    /// What was found.
    pub finding: Finding,
    /// Why it is still there; `null` when it is not.
    pub failed: Option<String>,
}
