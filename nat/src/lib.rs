//! The NAT engine's place: pure, no I/O, no clock, no threads.
//!
//! Nothing is translated yet. What will stand here, so that nobody builds it elsewhere:
//!
//! * A **mapping** binds an inside tuple to an outside one. By default it is endpoint-independent
//!   with address- and port-dependent filtering (RFC 4787 REQ-1, REQ-8).
//! * **Conntrack** is sharded so that a frame touches exactly one shard, in either direction,
//!   hairpin and ICMP errors included: each shard owns a range of outside ports, so the shard of a
//!   reply follows from the port it comes to. No order of locks exists because no frame takes two.
//! * The **gateway** owns an address on each network and answers ARP, NDP and echo there; between
//!   the stages forward and egress it decides `route`, and `translate` rewrites.
//! * A checksum that is unfinished (`VnetHeader::NEEDS_CSUM`) holds the *uncomplemented*
//!   pseudo-header sum: an address rewrite updates it with the opposite sign of a finished one.
//!
//! The crate may use `pipeline` and `wire`, never `switch`.
