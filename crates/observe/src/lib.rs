//! The observe plane: what happened to frames, for whoever watches.
//!
//! ```text
//!   worker, once a batch: does anybody watch?   no -> the line runs with NoTrace
//!      | yes
//!      v
//!   Record  (id, time, ports, verdict, decisions, first bytes)      record.rs
//!      |
//!      |  for each Watch: does its FlowMatch match?                 filter/, flow.rs
//!      v
//!   Ring    (one writer, bounded; a full one counts what it loses)  watch.rs
//!      |
//!      v
//!   reader  (takes records, and says how many were lost)
//! ```
//! Nothing here does I/O, reads a clock or starts a thread. A record may come from anywhere that
//! has a source number of its own: a worker of the dataplane, or whoever repeats its decisions.
//!
//! [`Filter`] is the text that a person writes, parsed; [`FlowMatch`] is the same with names turned
//! into ids. It is the one matcher of the house: asked about each record, and about each connection and
//! each entry of a forwarding database that somebody wants listed or forgotten. [`Flow`] is what it asks.

mod filter;
mod flow;
mod record;
mod summary;
mod watch;

pub use filter::{EndpointIds, Filter, FilterError, FlowMatch, Resolve, Subject};
pub use flow::{Flow, Party};
pub use record::{HEAD, Record, STEPS, Steps, Verdict};
pub use watch::{Tally, Watch, Watches};
