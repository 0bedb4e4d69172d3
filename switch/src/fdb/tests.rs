//! Tests of the forwarding database.
