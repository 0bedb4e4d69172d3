//! The words every stage shares.
//!
//! Nothing here does I/O, reads a clock or starts a thread. A shell (a port, a worker, a
//! simulation) fills a [`Batch`] with frames and says what time it is; stages answer with
//! verdicts, name every drop with a [`DropReason`] and tell each [`Decision`] to a [`Trace`].

mod batch;
mod context;
mod counters;
mod decision;
mod drop_reason;
mod effects;
mod frame;
mod ids;
mod meter;
mod stage;
mod time;
mod trace;
mod tunnel;

pub use batch::{Batch, BatchLimits, Received};
pub use context::Context;
pub use counters::{PortCounters, PortTotals};
pub use decision::{Decision, Field, Ids, Names, Sentence};
pub use drop_reason::DropReason;
pub use effects::Effects;
pub use frame::{Frame, HEADROOM, MAX_FRAME, VNET_LEN};
pub use ids::{Location, NetworkId, PacketId, PeerId, PortId, WorkerId};
pub use meter::Meter;
pub use stage::Stage;
pub use time::Instant;
pub use trace::{NoTrace, Recorder, Trace};
pub use tunnel::{Destination, Peers, Tunnel, TunnelKey};
