//! TAP interfaces: the container's end is the interface itself, ours is a file descriptor.
//!
//! ```text
//!   container's stack  <--->  eth0 (TAP)  <--->  /dev/net/tun fd  <--->  Rx, Tx
//!        namespace of the container                      this process
//! ```
//!
//! * With a vnet header the kernel hands us, and takes from us, 64 KiB superframes with
//!   unfinished checksums: one system call moves what would otherwise be 45 of them.
//! * A TAP belongs to the network namespace of the thread that opened it. [`Tap::open`] neither
//!   changes namespaces nor asks which one it is in.
//! * A *persistent* TAP outlives its descriptors: when this process dies, the container keeps its
//!   interface (without carrier), and the next process attaches to it again by name.
//! * What an earlier process left set on a persistent TAP (offloads, header length, persistence)
//!   is set anew on every open: those settings belong to the device, not to the descriptor.
//! * One read(2) or write(2) is one frame. Either is safe from any thread at any time. Both go
//!   straight to the kernel: the C library's are places where a thread may be cancelled, and say so
//!   with two atomic operations a call.
//!
//! With several queues the kernel sends a flow's frames to the queue that last *wrote* frames of
//! that flow, so each thread keeps writing to one queue of its own: a worker gets the answers to
//! what it sent.

use crate::error::drop_reason;
use crate::lost::inexpressible;
use crate::{Gone, InterfaceName, Offloads, Port, PortError, Rx, Tx, sys};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use pipeline::{Batch, Destination, DropReason, Frame, HEADROOM, MAX_FRAME, Received, VNET_LEN};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wire::VnetHeader;

/// What TAP to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapConfig {
    /// The interface's name in the calling thread's network namespace.
    pub name: InterfaceName,
    /// Receiving halves: 1 to [`TapConfig::MAX_QUEUES`]. A persistent TAP that was made with one
    /// queue cannot be opened with several, nor the other way round.
    pub queues: usize,
    /// Whether the interface outlives its last descriptor.
    pub persistent: bool,
    /// Whether frames carry a vnet header. Without it every frame is finished and no superframe
    /// passes, which costs most of the throughput.
    pub vnet: bool,
}

impl TapConfig {
    /// The most queues a TAP may have (`MAX_TAP_QUEUES` of Linux).
    pub const MAX_QUEUES: usize = 256;

    /// One queue, a vnet header, not persistent.
    #[must_use]
    pub const fn new(name: InterfaceName) -> Self {
        Self {
            name,
            queues: 1,
            persistent: false,
            vnet: true,
        }
    }
}

/// An open TAP: set it up, then make it a [`Port`].
#[derive(Debug)]
pub struct Tap {
    name: InterfaceName,
    index: u32,
    /// One descriptor a queue; never empty.
    queues: Vec<Arc<OwnedFd>>,
    offloads: Offloads,
    vnet: bool,
}

impl Tap {
    /// Makes the TAP, or attaches to a persistent one of that name, in the calling thread's
    /// network namespace. The interface is not set up.
    ///
    /// # Errors
    /// [`PortError::Queues`]; [`PortError::Interface`] with EPERM without CAP_NET_ADMIN, EBUSY
    /// when another process has it open, EINVAL when the name is that of another kind of
    /// interface or of a TAP with another number of queues.
    pub fn open(config: TapConfig) -> Result<Self, PortError> {
        let TapConfig {
            name,
            queues,
            persistent,
            vnet,
        } = config;
        if !(1..=TapConfig::MAX_QUEUES).contains(&queues) {
            return Err(PortError::Queues {
                got: queues,
                max: TapConfig::MAX_QUEUES,
            });
        }
        let failed = |operation| {
            let interface = name.to_string();
            move |error| PortError::Interface {
                operation,
                interface,
                error,
            }
        };
        let fds = (0..queues)
            .map(|_| open_device().map_err(failed("open /dev/net/tun for")))
            .collect::<Result<Vec<_>, _>>()?;
        for fd in &fds {
            attach(fd.as_fd(), &name, queues > 1, vnet).map_err(failed("open TAP"))?;
        }
        let first = fds[0].as_fd();
        let offloads = set_offloads(first, vnet).map_err(failed("set the offloads of"))?;
        sys::tun_set_persistent(first, persistent).map_err(failed("set the persistence of"))?;
        let index = nix::net::if_::if_nametoindex(name.as_str())
            .map_err(|error| failed("find")(error.into()))?;
        Ok(Self {
            name,
            index,
            queues: fds,
            offloads,
            vnet,
        })
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// The interface's index in its namespace.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns whether the interface outlives its last descriptor, from now on.
    ///
    /// # Errors
    /// [`PortError::Interface`] when it was removed.
    pub fn set_persistent(&self, persistent: bool) -> Result<(), PortError> {
        self.persistence().set(persistent)
    }

    /// A handle that can still change the persistence after [`Tap::into_port`].
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        Persistence {
            name: self.name.clone(),
            fd: Arc::clone(&self.queues[0]),
        }
    }

    /// The port.
    #[must_use]
    pub fn into_port(self) -> Port {
        let Self {
            queues,
            offloads,
            vnet,
            ..
        } = self;
        let receiving = |fd: &Arc<OwnedFd>| {
            Box::new(TapRx {
                fd: Arc::clone(fd),
                vnet,
            }) as Box<dyn Rx>
        };
        Port {
            queues: queues.iter().map(receiving).collect(),
            tx: Arc::new(TapTx {
                queues,
                offloads,
                vnet,
            }),
        }
    }
}

/// Decides whether a TAP outlives its last descriptor. It is itself a holder of one.
#[derive(Debug)]
pub struct Persistence {
    name: InterfaceName,
    fd: Arc<OwnedFd>,
}

impl Persistence {
    /// Returns whether the interface outlives its last descriptor, from now on.
    ///
    /// # Errors
    /// [`PortError::Interface`] when it was removed.
    pub fn set(&self, persistent: bool) -> Result<(), PortError> {
        sys::tun_set_persistent(self.fd.as_fd(), persistent).map_err(|error| PortError::Interface {
            operation: "set the persistence of",
            interface: self.name.to_string(),
            error,
        })
    }
}

fn open_device() -> io::Result<Arc<OwnedFd>> {
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(Arc::new(open("/dev/net/tun", flags, Mode::empty())?))
}

fn attach(fd: BorrowedFd<'_>, name: &InterfaceName, several: bool, vnet: bool) -> io::Result<()> {
    use sys::tun_flags::{MULTI_QUEUE, NO_PI, TAP, VNET_HDR};
    let several = if several { MULTI_QUEUE } else { 0 };
    let header = if vnet { VNET_HDR } else { 0 };
    sys::tun_attach(fd, name, TAP | NO_PI | several | header)
}

/// Asks for everything; kernels before 6.2 refuse UDP superframes with EINVAL, and with them the
/// whole request.
fn set_offloads(fd: BorrowedFd<'_>, vnet: bool) -> io::Result<Offloads> {
    const BASE: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    const USO: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    if !vnet {
        sys::tun_set_offloads(fd, 0)?;
        return Ok(Offloads::NONE);
    }
    sys::tun_set_vnet_length(fd, VNET_HEADER_BYTES)?;
    match sys::tun_set_offloads(fd, BASE | USO) {
        Ok(()) => Ok(Offloads::ALL),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::tun_set_offloads(fd, BASE)?;
            Ok(Offloads {
                uso: false,
                ..Offloads::ALL
            })
        }
        Err(error) => Err(error),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "ten bytes")]
const VNET_HEADER_BYTES: i32 = VNET_LEN as i32;

#[derive(Debug)]
struct TapRx {
    fd: Arc<OwnedFd>,
    vnet: bool,
}

impl Rx for TapRx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), Gone> {
        while batch.fill(|room| receive_one(&self.fd, self.vnet, room))? {}
        Ok(())
    }
}

/// One read(2), straight to where the frame belongs. The kernel cuts what is longer than the
/// room, which leaves a frame of `MAX_FRAME` bytes: the crate's mark of one that is too long.
fn receive_one(fd: &OwnedFd, vnet: bool, room: &mut [u8]) -> Result<Option<Received>, Gone> {
    let header = if vnet { VNET_LEN } else { 0 };
    let target = &mut room[HEADROOM - header..HEADROOM + MAX_FRAME];
    let len = loop {
        match read(fd, target) {
            Ok(len) => break len,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINVAL) => return Ok(Some(inexpressible(room))),
            // EBADFD: the descriptor is attached to nothing any more. EFAULT, EIO: the interface
            // is being removed and its ring is closed.
            Err(Errno::EBADFD | Errno::ENODEV | Errno::EFAULT | Errno::EIO) => {
                return Err(Gone::Removed);
            }
            Err(other) => return Err(Gone::Io(other.to_string())),
        }
    };
    let vnet = if vnet {
        VnetHeader::from_bytes(*target.first_chunk().expect("the room holds a header"))
    } else {
        VnetHeader::default()
    };
    Ok(Some(Received::new(len.saturating_sub(header), vnet)))
}

#[derive(Debug)]
struct TapTx {
    queues: Vec<Arc<OwnedFd>>,
    offloads: Offloads,
    vnet: bool,
}

impl Tx for TapTx {
    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn transmit(&self, frame: &mut Frame<'_>, _: Destination) -> Result<(), DropReason> {
        let bytes = if self.vnet {
            frame.with_vnet()
        } else {
            frame.bytes()
        };
        let queue = if self.queues.len() == 1 {
            0
        } else {
            thread_number() % self.queues.len()
        };
        loop {
            match write(&self.queues[queue], bytes) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(drop_reason(error)),
            }
        }
    }
}

fn read(fd: &OwnedFd, into: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::read(fd, into).map_err(errno)
}

fn write(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    rustix::io::write(fd, bytes).map_err(errno)
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// A small number that stays with the calling thread.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    MINE.with(|mine| *mine)
}
