//! Live, or only asked.

/// Whether a stage leaves traces in the live tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// A frame that is really there.
    Live,
    /// A question: everything is looked at, nothing is changed.
    None,
}
