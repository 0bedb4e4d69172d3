//! The kernel calls that nix and socket2 do not wrap: TAP ioctls, packet socket options, recvmsg
//! with auxiliary data. Every function is safe to call with any arguments.
//!
//! Why not a crate: tun-tap 0.1 asks for neither a vnet header nor several queues nor an existing
//! device; tun-rs 2.8 does, but sets offloads without saying which, and brings its own buffers
//! and threads along. Six ioctls are less to know than either.

use crate::InterfaceName;
use std::io::{self, IoSliceMut};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `virtio_net_hdr` before each frame, no packet information, a TAP; see [`tun_attach`].
pub(crate) mod tun_flags {
    pub(crate) const TAP: i16 = 0x0002;
    pub(crate) const MULTI_QUEUE: i16 = 0x0100;
    pub(crate) const NO_PI: i16 = 0x1000;
    pub(crate) const VNET_HDR: i16 = 0x4000;
}

/// Options of packet sockets (`linux/if_packet.h`), all taking one `int`.
pub(crate) mod packet_option {
    pub(crate) const AUXDATA: i32 = 8;
    pub(crate) const VNET_HDR: i32 = 15;
    pub(crate) const IGNORE_OUTGOING: i32 = 23;
}

/// Attaches `fd`, an open `/dev/net/tun`, to the interface `name` of the calling thread's network
/// namespace, which is made if it does not exist (TUNSETIFF).
pub(crate) fn tun_attach(fd: BorrowedFd<'_>, name: &InterfaceName, flags: i16) -> io::Result<()> {
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which is ours and outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
}

/// Returns what the kernel may leave undone in frames it gives us (TUNSETOFFLOAD).
pub(crate) fn tun_set_offloads(fd: BorrowedFd<'_>, offloads: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            libc::c_ulong::from(offloads),
        )
    })
    .map(drop)
}

/// Returns how long the virtio header is (TUNSETVNETHDRSZ).
pub(crate) fn tun_set_vnet_length(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one `int`, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const bytes) }).map(drop)
}

/// Returns whether the interface outlives its last descriptor (TUNSETPERSIST).
pub(crate) fn tun_set_persistent(fd: BorrowedFd<'_>, persistent: bool) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes its argument by value and touches no memory of ours.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETPERSIST,
            libc::c_ulong::from(persistent),
        )
    })
    .map(drop)
}

/// Sets one of [`packet_option`].
pub(crate) fn set_packet_option(fd: BorrowedFd<'_>, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads one `int` from the pointer, with its true length.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            length_of::<i32>(),
        )
    })
    .map(drop)
}

/// Makes the interface promiscuous for as long as the socket is open.
pub(crate) fn join_promiscuous(fd: BorrowedFd<'_>, index: i32) -> io::Result<()> {
    let membership = PacketMembership {
        index,
        kind: PACKET_MR_PROMISC,
        address_length: 0,
        address: [0; 8],
    };
    // SAFETY: the kernel reads one `packet_mreq`, whose layout `PacketMembership` has, with its
    // true length.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            length_of::<PacketMembership>(),
        )
    })
    .map(drop)
}

/// Binds a packet socket to all protocols of one interface.
pub(crate) fn bind_packet(fd: BorrowedFd<'_>, index: i32) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain data, for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = AF_PACKET;
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = index;
    // SAFETY: the kernel reads one `sockaddr_ll` with its true length.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    })
    .map(drop)
}

/// The interface that a packet socket is bound to: -1 once it was removed. Works from any
/// namespace.
pub(crate) fn packet_interface(fd: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: `sockaddr_ll` is plain data, for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = length_of::<libc::sockaddr_ll>();
    // SAFETY: the kernel writes at most `length` bytes, the size of `address`, and the length.
    check(unsafe {
        libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut length)
    })?;
    Ok(address.sll_ifindex)
}

/// What one recvmsg(2) on a packet socket brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketReceived {
    /// Bytes written to the buffer; what did not fit is lost.
    pub(crate) len: usize,
    /// The tag that the kernel took off: protocol identifier and tag control information.
    pub(crate) vlan: Option<(u16, u16)>,
}

/// Receives one packet with its auxiliary data.
pub(crate) fn receive_packet(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<PacketReceived> {
    let mut pieces = [IoSliceMut::new(buffer)];
    let mut control = ControlBuffer([0; CONTROL_LENGTH]);
    // SAFETY: `msghdr` is plain data, for which all zeroes is a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = pieces.as_mut_ptr().cast();
    message.msg_iovlen = pieces.len();
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LENGTH;
    // SAFETY: `IoSliceMut` has the layout of `iovec`; the kernel writes no more than the stated
    // lengths into buffer and control, both of which outlive the call.
    let len = check_size(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) })?;
    Ok(PacketReceived {
        len,
        vlan: stripped_tag(&message),
    })
}

fn stripped_tag(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: `message` was filled by recvmsg and its control buffer is still there, aligned as
    // `cmsghdr` wants; the CMSG functions stay inside `msg_controllen`.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    let whole = size_of::<libc::cmsghdr>() + size_of::<PacketAuxiliary>();
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, packet_option::AUXDATA)
        || header.cmsg_len < whole
    {
        return None;
    }
    // SAFETY: the message is a PACKET_AUXDATA one and, by its length, holds a whole
    // `tpacket_auxdata`, whose layout `PacketAuxiliary` has. It need not be aligned.
    let data = unsafe {
        libc::CMSG_DATA(header)
            .cast::<PacketAuxiliary>()
            .read_unaligned()
    };
    let tpid = if data.status & TP_STATUS_VLAN_TPID_VALID != 0 {
        data.vlan_tpid
    } else {
        DEFAULT_TPID
    };
    (data.status & TP_STATUS_VLAN_VALID != 0).then_some((tpid, data.vlan_tci))
}

fn interface_request(name: &InterfaceName) -> libc::ifreq {
    // SAFETY: `ifreq` is plain data, for which all zeroes is a value; a name has at most fifteen
    // bytes, so the sixteenth stays the terminator.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request
}

fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

fn check_size(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

const fn length_of<T>() -> libc::socklen_t {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the structures passed here have a few dozen bytes"
    )]
    let length = size_of::<T>() as libc::socklen_t;
    length
}

/// `struct packet_mreq`.
#[repr(C)]
struct PacketMembership {
    index: i32,
    kind: u16,
    address_length: u16,
    address: [u8; 8],
}

/// `struct tpacket_auxdata`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PacketAuxiliary {
    status: u32,
    _len: u32,
    _snaplen: u32,
    _mac: u16,
    _net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// Aligned as `cmsghdr` wants.
#[repr(align(8))]
struct ControlBuffer([u8; CONTROL_LENGTH]);

const CONTROL_LENGTH: usize = 64;
const PACKET_ADD_MEMBERSHIP: i32 = 1;
const PACKET_MR_PROMISC: u16 = 1;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
const DEFAULT_TPID: u16 = 0x8100;
const AF_PACKET: u16 = 17;
const ETH_P_ALL: u16 = 3;
