//! Filters: the one language in which connections and forwarding entries are chosen.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A choice among what a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// The words of a trace's filter that say something about connections or entries: `endpoint web-1 and
    /// tcp port 443`, `state established`; `port p1 and vlan 7`, `02:00:00:00:00:0a`. The others are
    /// refused. Empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[param(required = false)]
    pub filter: String,
}

impl Filter {
    /// Makes a filter of its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            filter: text.into(),
        }
    }

    /// Returns whether it chooses all.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.filter.trim().is_empty()
    }
}
