//! One test a requirement, named by its number; fairness; then properties, and a slow reference.
//!
//! | RFC 4787 (UDP) | where it is tested |
//! |---|---|
//! | REQ-1 to 6, 8, 9, 11, 12 | `rfc4787.rs` |
//! | REQ-3 a) | not done: ports below 1024 are the host's own, and no mapping is made of them |
//! | REQ-7 | a network that overlaps with what the host reaches is refused when it is configured (`control`, `daemon`) |
//! | REQ-10 | there are no ALGs: no payload is read or changed (`rewrite.rs`, `it_is_as_if_made_anew`) |
//! | REQ-13 | `tests/sim`, `FragmentationNeeded`; a) is not done: what may be fragmented is answered, too, and its sender does it |
//! | REQ-14 | `fragments/tests.rs`, `tests/sim/fragments.rs` |
//!
//! | RFC 5382 (TCP) | |
//! |---|---|
//! | REQ-1 to 5, 7 to 10 | `rfc5382.rs`; all valid sequences (REQ-2): `tcp/tests.rs` |
//! | REQ-4 | the silence has no end, and no error follows it: whoever scans us learns nothing |
//! | REQ-6 | there are no ALGs |
//!
//! | RFC 5508 (ICMP) | |
//! |---|---|
//! | REQ-1, 2, 4 to 7 | `rfc5508.rs` |
//! | REQ-3 | `icmp.rs`, which says why a) is not done |
//! | REQ-8 | not done: who has no port left, or is denied, is dropped by name and not told |
//! | REQ-9 | a MAY; errors have a rate (`gateway/tests/error.rs`) |
//! | REQ-10 | errors, `gateway/tests/error.rs`; echo, `gateway/tests/echo.rs`; source routes and source quench are refused, `martian.rs`, `icmp.rs` |
//! | REQ-11 | a MAY: what is neither query nor error has no identifier, and no answer to it finds anybody |
//!
//! | others | |
//! |---|---|
//! | RFC 6888 REQ-1 to 3 | those above; the pool is a list of any addresses, `rfc4787_req2` |
//! | RFC 6888 REQ-4, 5 | `fair.rs`: a quota of connections bounds ports and memory |
//! | RFC 6888 REQ-6 | routes between networks are not translated, `tests/sim/scenarios/routed.rs` |
//! | RFC 6888 REQ-7 | the preset `cgnat`, `rfc4787_req8` |
//! | RFC 6888 REQ-8 | not done: a port is free at once where the one before it was silent for its whole timer |
//! | RFC 6888 REQ-11 | not as it says: an endpoint that holds most gives way to one that holds little (`table/evict.rs`), and nobody else does |
//! | RFC 6888 REQ-9, 10, 12 | not a carrier's: no port control protocol, no MIB; events instead of a log, `state.rs` |
//! | RFC 7857, 2.2 (RST) | `tcp/tests.rs`, `rfc_7857_2_2` |
//! | RFC 7857, 3 (ports that overlap) | only where mapping and filtering depend on the peer: `rfc4787_req3_only` |

mod backends;
mod fair;
mod leases;
mod oracle;
mod properties;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rig;
mod state;
