//! Things that are not as they should be, and how to put them right.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The thing itself, in words.
    pub what: String,
    /// Its place: a port, a namespace, a NIC.
    pub r#where: String,
    /// The command that puts it right.
    pub undo: String,
}

/// A finding after somebody tried to put it right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cleaned {
    /// The finding.
    pub finding: Finding,
    /// Why it is still there; `null` when it is not.
    pub failed: Option<String>,
}
