//! Attachment by a filter of the `clsact` qdisc: in every kernel that has BPF. A filter stays until somebody
//! removes it or its interface, so a program attached by one has to see by itself when its maker is gone.
//!
//! Filters of others stay as they are, and so does a qdisc that others made or use.

use crate::{LoadError, Loaded, Side};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
    TcOption,
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `ETH_P_ALL`.
const EVERY_PROTOCOL: u16 = 0x0003;

/// The place of a filter: unique at its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The interface's number, in the calling thread's namespace.
    pub interface: u32,
    /// Its side.
    pub side: Side,
    /// Filters run in the order of their priorities, the lowest first.
    pub priority: u16,
    /// Tells filters of one priority apart.
    pub handle: u32,
}

/// A filter with a BPF program that was found at an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub slot: Slot,
    /// Its program's number, see [`Loaded::id`].
    pub program: Option<u32>,
    /// The name it was given.
    pub name: Option<String>,
}

/// Makes sure that the interface has the qdisc; says whether it had none before.
///
/// # Errors
/// [`LoadError::Gone`] when there is no such interface.
pub fn add_qdisc(interface: u32) -> Result<bool, LoadError> {
    let message = RouteNetlinkMessage::NewQueueDiscipline(qdisc(interface));
    match request(message, NLM_F_CREATE | NLM_F_EXCL) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(LoadError::new("add a clsact qdisc", error)),
    }
}

/// Removes the qdisc, unless a filter is there; says whether it was removed.
///
/// # Errors
/// The kernel's refusal.
pub fn remove_empty_qdisc(interface: u32) -> Result<bool, LoadError> {
    let failed = |error| LoadError::new("remove a clsact qdisc", error);
    for side in [Side::Ingress, Side::Egress] {
        if !dump(interface, side).map_err(failed)?.is_empty() {
            return Ok(false);
        }
    }
    let message = RouteNetlinkMessage::DelQueueDiscipline(qdisc(interface));
    missing(request(message, 0)).map_err(failed)
}

/// Puts a program into a slot. One that is there is replaced: each packet is judged by exactly one.
///
/// # Errors
/// The kernel's refusal.
pub fn put(program: &Loaded, slot: Slot) -> Result<(), LoadError> {
    let mut message = filter(slot);
    let fd = program.as_fd().as_raw_fd().cast_unsigned();
    let options = [
        TcFilterBpfOption::ProgFd(fd),
        TcFilterBpfOption::ProgName(program.name().to_owned()),
        // What the program answers is what becomes of the packet.
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    message.attributes.push(TcAttribute::Options(
        options.into_iter().map(TcOption::Bpf).collect(),
    ));
    let message = RouteNetlinkMessage::NewTrafficFilter(message);
    request(message, NLM_F_CREATE | NLM_F_REPLACE)
        .map(drop)
        .map_err(|error| LoadError::new("put a filter on an interface", error))
}

/// Removes what is in a slot; says whether there was something.
///
/// # Errors
/// The kernel's refusal.
pub fn remove(slot: Slot) -> Result<bool, LoadError> {
    // Where there is no qdisc, the kernel takes the request itself for wrong.
    if !list(slot.interface, slot.side)?
        .iter()
        .any(|it| it.slot == slot)
    {
        return Ok(false);
    }
    let message = RouteNetlinkMessage::DelTrafficFilter(filter(slot));
    missing(request(message, 0)).map_err(|error| LoadError::new("remove a filter", error))
}

/// The filters with a BPF program at a side of an interface, in the order in which they run.
///
/// # Errors
/// The kernel's refusal.
pub fn list(interface: u32, side: Side) -> Result<Vec<Found>, LoadError> {
    let filters = dump(interface, side).map_err(|error| LoadError::new("list filters", error))?;
    Ok(filters.iter().filter_map(|it| found(it, side)).collect())
}

fn qdisc(interface: u32) -> TcMessage {
    let header = TcHeader {
        index: interface.cast_signed(),
        handle: TcHandle {
            major: u16::MAX,
            minor: 0,
        },
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, vec![TcAttribute::Kind("clsact".to_owned())])
}

fn side_header(interface: u32, side: Side) -> TcHeader {
    let minor = match side {
        Side::Ingress => TcHandle::MIN_INGRESS,
        Side::Egress => TcHandle::MIN_EGRESS,
    };
    TcHeader {
        index: interface.cast_signed(),
        parent: TcHandle {
            major: u16::MAX,
            minor,
        },
        ..TcHeader::default()
    }
}

fn filter(slot: Slot) -> TcMessage {
    let mut header = side_header(slot.interface, slot.side);
    header.handle = TcHandle::from(slot.handle);
    header.info = u32::from(TcHandle {
        major: slot.priority,
        minor: EVERY_PROTOCOL.to_be(),
    });
    let kind = TcAttribute::Kind(TcFilterBpf::KIND.to_owned());
    TcMessage::from_parts(header, vec![kind])
}

fn dump(interface: u32, side: Side) -> io::Result<Vec<TcMessage>> {
    let mut message = TcMessage::default();
    message.header = side_header(interface, side);
    match request(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP) {
        // There is no such qdisc.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
        found => found,
    }
}

fn found(message: &TcMessage, side: Side) -> Option<Found> {
    let header = &message.header;
    let handle = u32::from(header.handle);
    let mut found = Found {
        slot: Slot {
            interface: header.index.cast_unsigned(),
            side,
            priority: TcHandle::from(header.info).major,
            handle,
        },
        program: None,
        name: None,
    };
    let options = message.attributes.iter().find_map(|attribute| {
        if let TcAttribute::Options(options) = attribute {
            Some(options)
        } else {
            None
        }
    })?;
    for option in options {
        if let TcOption::Bpf(TcFilterBpfOption::ProgId(id)) = option {
            found.program = Some(*id);
        } else if let TcOption::Bpf(TcFilterBpfOption::ProgName(name)) = option {
            found.name = Some(name.clone());
        }
    }
    // The first message of a priority describes no filter.
    (handle != 0).then_some(found)
}

fn missing<T>(answer: io::Result<T>) -> io::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Sends one request and answers the filters that the kernel answered, up to its acknowledgement.
fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<TcMessage>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut filters = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let length = (answer.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            if let NetlinkPayload::InnerMessage(message) = answer.payload {
                if let RouteNetlinkMessage::NewTrafficFilter(filter) = message {
                    filters.push(filter);
                }
            } else if let NetlinkPayload::Error(error) = answer.payload {
                return match error.code {
                    Some(code) => Err(io::Error::from_raw_os_error(code.get().abs())),
                    None => Ok(filters),
                };
            } else if let NetlinkPayload::Done(_) = answer.payload {
                return Ok(filters);
            }
        }
    }
}
