//! Leases: decisions of the pipeline that the kernel repeats where the frame already is.
//!
//! A lease is an exact match. Its [`Key`] is everything that the pipeline read for the decision; its
//! [`Lease`] says where to, and counts. The [`program`](program::program) hangs at the host's end of each
//! port's veth. A frame with a lease goes to its receiver at once; any other goes to the port's TAP, where a
//! worker reads it as ever. The kernel decides nothing: without a lease it knows no way but that one.
//!
//! Switched unicast is repeated by its MAC addresses. Frames to the router, and all frames of a port whose
//! network has rules about connections, are repeated by flow ([`FlowKey`], [`FlowLease`]), changed as the
//! pipeline would change them.
//!
//! [`Leases`] is userspace's book of them. It takes a lease back by closing its slot, or all at once by a new
//! generation. Leases also end by themselves, at a time ([`Terms::until`]) that userspace moves on while it
//! lives. A worker's own frames come through the port's TAP, where [`deliver`] hands them on.

mod book;
pub mod deliver;
mod flow;
mod grant;
mod kernel;
mod layout;
mod leases;
pub mod program;
mod share;

pub use book::{Basis, Held, Station};
pub use flow::{
    Change, Changes, Direction, Ends, FlowKey, FlowLease, Out, Said, UNJUDGED, ends, scale,
};
pub use grant::{Begun, Grant, Spares};
pub use kernel::{Carried, Kernel, Lent, LentKey, PortTerms, Slots};
pub use layout::{Key, Lease, Port, TAGGED, Terms, Way, source};
pub use leases::{Decided, Flow, Leases};
pub use share::{Repeated, Share};
