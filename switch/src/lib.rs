//! The L2 switch: topology, forwarding database and the stages admit, learn, forward, egress.

pub mod fdb;
