//! The NAT engine.
