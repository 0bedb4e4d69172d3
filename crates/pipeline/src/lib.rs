//! The words every stage shares.
//!
//! Nothing here does I/O, reads a clock or starts a thread. A shell (a port, a worker, a
//! simulation) fills a [`Batch`] with frames and says what time it is; stages answer with
//! verdicts, name every drop with a [`DropReason`] and tell a [`Trace`] what they decided.

mod batch;
mod counters;
mod drop_reason;
mod effects;
mod frame;
mod ids;
mod meter;
mod time;
mod trace;

pub use batch::{Batch, BatchLimits, Received};
pub use counters::{PortCounters, PortTotals};
pub use drop_reason::DropReason;
pub use effects::Effects;
pub use frame::{Frame, HEADROOM, MAX_FRAME, VNET_LEN};
pub use ids::{NetworkId, PortId, WorkerId};
pub use meter::Meter;
pub use time::Instant;
pub use trace::{Event, NoTrace, Recorder, Stage, Trace};
