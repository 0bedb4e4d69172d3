//! A dumb switch.
