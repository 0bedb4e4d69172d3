//! Packet sockets: ports on interfaces that are not ours to make (a veth that a container runtime
//! made, a physical NIC).
//!
//! What shaped it:
//! * The socket gets a *copy* of each packet: a kernel that uses the interface answers too. Who
//!   attaches one to an interface with addresses has to steal the frames first (`tc`).
//! * `PACKET_VNET_HDR`: superframes with unfinished checksums pass whole, as on a TAP.
//! * `PACKET_IGNORE_OUTGOING`: what this side's kernel, or another port, *sends* through the
//!   interface is not traffic that arrives at it.
//! * The kernel takes the outermost VLAN tag off before anybody sees the packet and reports it
//!   beside it (`PACKET_AUXDATA`): it is put back where it stood, and the offsets that the vnet
//!   header counts from the frame's start move with it. In the other direction the kernel wants
//!   the tag inside the frame, which is where it is.
//! * An interface that goes down ends the port ([`Gone::Down`]); the kernel says so once, as
//!   ENETDOWN. Whether it was removed is asked of the socket itself, which knows from any
//!   namespace. A removal begins with going down: who looks in that very moment sees `Down`.
//!
//! The socket belongs to the network namespace of the thread that opened it. Both halves may be
//! used from any thread.

use crate::error::drop_reason;
use crate::lost::inexpressible;
use crate::{Gone, InterfaceName, Offloads, Port, PortError, Rx, Tx, sys};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};
use pipeline::{Batch, Destination, DropReason, Frame, HEADROOM, MAX_FRAME, Received, VNET_LEN};
use socket2::{Domain, Socket, Type};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use wire::{VlanTag, VnetHeader};

/// Opens a port on an existing interface of the calling thread's network namespace.
///
/// # Errors
/// [`PortError::Interface`] with ENODEV when there is no such interface, EPERM without
/// CAP_NET_RAW. An interface that is down can be opened and is gone at the first receive.
pub fn open(name: &InterfaceName) -> Result<Port, PortError> {
    let index =
        nix::net::if_::if_nametoindex(name.as_str()).map_err(|error| PortError::Interface {
            operation: "find",
            interface: name.to_string(),
            error: error.into(),
        })?;
    open_interface(index, name.to_string())
}

/// The same, for an interface known by its index.
///
/// # Errors
/// As [`open`].
pub fn open_index(index: u32) -> Result<Port, PortError> {
    open_interface(index, format!("number {index}"))
}

fn open_interface(index: u32, interface: String) -> Result<Port, PortError> {
    let socket = bound_socket(index).map_err(|error| PortError::Interface {
        operation: "open a packet socket on",
        interface,
        error,
    })?;
    let socket = Arc::new(socket);
    Ok(Port {
        queues: vec![Box::new(PacketRx {
            socket: Arc::clone(&socket),
        })],
        tx: Arc::new(PacketTx { socket }),
    })
}

/// Everything is set before the socket is bound, for only then it begins to receive.
fn bound_socket(index: u32) -> io::Result<Socket> {
    use sys::packet_option::{AUXDATA, IGNORE_OUTGOING, VNET_HDR};
    let index = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
    for option in [VNET_HDR, AUXDATA, IGNORE_OUTGOING] {
        sys::set_packet_option(socket.as_fd(), option, 1)?;
    }
    enlarge_buffers(&socket)?;
    sys::bind_packet(socket.as_fd(), index)?;
    sys::join_promiscuous(socket.as_fd(), index)?;
    Ok(socket)
}

/// Beyond the limits for ordinary sockets where we may (CAP_NET_ADMIN), as far as them otherwise.
fn enlarge_buffers(socket: &Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        socket.set_send_buffer_size(SEND_BUFFER)?;
    }
    Ok(())
}

/// Bytes that may wait for us: some 60 superframes, or 10,000 small packets.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Bytes that may wait for a NIC.
const SEND_BUFFER: usize = 4 << 20;

#[derive(Debug)]
struct PacketRx {
    socket: Arc<Socket>,
}

impl Rx for PacketRx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), Gone> {
        while batch.fill(|room| receive_one(&self.socket, room))? {}
        Ok(())
    }
}

fn receive_one(socket: &Socket, room: &mut [u8]) -> Result<Option<Received>, Gone> {
    let target = &mut room[HEADROOM - VNET_LEN..HEADROOM + MAX_FRAME];
    let got = loop {
        match sys::receive_packet(socket.as_fd(), target) {
            Ok(got) => break got,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN | libc::ENOBUFS) => return Ok(None),
                Some(libc::EINVAL) => return Ok(Some(inexpressible(room))),
                Some(libc::ENETDOWN) => return Err(down_or_removed(socket)),
                Some(libc::ENXIO | libc::ENODEV) => return Err(Gone::Removed),
                _ => return Err(Gone::Io(error.to_string())),
            },
        }
    };
    let mut vnet = VnetHeader::from_bytes(*target.first_chunk().expect("the room holds a header"));
    let mut len = got.len.saturating_sub(VNET_LEN);
    if let Some((tpid, tci)) = got.vlan {
        (len, vnet) = put_back(VlanTag { tpid, tci }, room, len, vnet);
    }
    // The kernel cuts what is longer than the room, which leaves the crate's mark of a frame that is
    // too long; a tag put back makes it no longer than that.
    let len = len.min(MAX_FRAME);
    Ok(Some(Received::new(len, vnet)))
}

/// Opens a gap behind the MAC addresses, for the tag the kernel took out there. The frame has to
/// begin at `HEADROOM`, so it is the payload that moves.
fn put_back(
    tag: VlanTag,
    room: &mut [u8],
    len: usize,
    mut vnet: VnetHeader,
) -> (usize, VnetHeader) {
    const MACS: usize = 12;
    const TAG: usize = 4;
    const TAG_SHIFT: i16 = 4;
    if len < MACS {
        return (len, vnet);
    }
    let gap = HEADROOM + MACS;
    let end = (HEADROOM + len).min(room.len() - TAG);
    room.copy_within(gap..end, gap + TAG);
    room[gap..gap + TAG].copy_from_slice(&tag.to_bytes());
    vnet.shift(TAG_SHIFT);
    (len + TAG, vnet)
}

fn down_or_removed(socket: &Socket) -> Gone {
    match sys::packet_interface(socket.as_fd()) {
        Ok(index) if index > 0 => Gone::Down,
        Ok(_) => Gone::Removed,
        Err(error) => Gone::Io(error.to_string()),
    }
}

#[derive(Debug)]
struct PacketTx {
    socket: Arc<Socket>,
}

impl Tx for PacketTx {
    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn transmit(&self, frame: &mut Frame<'_>, _: Destination) -> Result<(), DropReason> {
        let bytes = frame.with_vnet();
        loop {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(drop_reason(error)),
            }
        }
    }
}
