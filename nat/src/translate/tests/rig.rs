//! A NAT with a clock that the test turns.
