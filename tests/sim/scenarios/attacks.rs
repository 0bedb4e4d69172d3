//! What hostile ones do.
