//! What can go wrong while a port is opened; and the name of what can go wrong with one frame.

use nix::errno::Errno;
use pipeline::DropReason;
use std::io;
use std::path::PathBuf;

/// Why a port could not be opened or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The kernel refused an operation on an interface.
    #[error("cannot {operation} interface {interface}: {error}")]
    Interface {
        /// What was tried, as in "cannot ... interface eth0".
        operation: &'static str,
        /// The interface's name, or its index where only that is known.
        interface: String,
        /// What the kernel answered.
        error: io::Error,
    },
    /// The text cannot name an interface.
    #[error(
        "`{0}` is not an interface name: 1 to 15 bytes without `/`, `:`, `%` or white space, neither `.` nor `..`"
    )]
    Name(String),
    /// A TAP has at least one queue and at most as many as the kernel allows.
    #[error("a TAP with {got} queues is not possible: 1 to {max} are")]
    Queues {
        /// Queues asked for.
        got: usize,
        /// Queues the kernel allows.
        max: usize,
    },
    /// A capture file could not be opened, made or understood.
    #[error("cannot {operation} capture file {}: {error}", path.display())]
    Capture {
        /// What was tried, as in "cannot ... capture file x.pcap".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system or the decoder answered.
        error: String,
    },
    /// An event or timer descriptor could not be made.
    #[error("cannot make an event descriptor: {0}")]
    Event(io::Error),
}

impl PortError {
    /// The operating system's error number, where one is behind it.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Interface { error, .. } | Self::Event(error) => error.raw_os_error(),
            Self::Name(_) | Self::Queues { .. } | Self::Capture { .. } => None,
        }
    }
}

/// Returns what it means that the kernel did not take a frame. A TAP says EIO when it is down and EBADFD
/// when it is gone, a packet socket ENETDOWN and ENXIO.
pub(crate) fn drop_reason(error: Errno) -> DropReason {
    match error as i32 {
        libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => DropReason::TxFull,
        libc::EIO | libc::ENETDOWN => DropReason::TxDown,
        libc::EBADFD | libc::ENODEV | libc::ENXIO => DropReason::TxGone,
        _ => DropReason::TxRefused,
    }
}
