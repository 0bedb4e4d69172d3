//! Programs of hosts, over smoltcp's sockets.
//!
//! A program is asked after every change at its host. It looks at its sockets, does what it can
//! and says when it wants to be asked again.

mod bulk;
mod datagrams;
mod echo;
mod ping;
mod probe;

pub use bulk::{Bulk, TcpReceive, TcpSend};
pub use datagrams::{UdpReceive, UdpSend};
pub use echo::{UdpAsk, UdpEcho};
pub use ping::{Ping, Reach, TRIES};
pub use probe::{Complaint, Probe};

use crate::host::Stack;
use pipeline::Instant;
use std::fmt::Debug;

/// A program.
pub trait App: Debug {
    /// Does what can be done now. Answers when to ask again at the latest, should nothing happen
    /// at the host before.
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant>;

    /// Returns whether it has nothing left to do.
    fn done(&self) -> bool;

    /// Returns whether it achieved what it was for.
    fn succeeded(&self) -> bool;

    /// How far it got, in one line that is the same for the same run.
    fn tell(&self) -> String;
}
