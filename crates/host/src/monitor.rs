//! Learning that the host's network has changed.
//!
//! The kernel tells whoever listens of each change of an interface, an address, a route, a filter.
//! What the change was is not read: it may have been superseded, and the kernel drops messages of
//! a listener that is slow, so only a fresh look at the facts is right. Routes other than default
//! routes are passed over; a router's host changes thousands of them a second.

use crate::{Error, Inside};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use tokio::runtime::Handle;

/// Listens to a namespace's changes.
pub struct Monitor {
    socket: TokioSocket,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

impl Monitor {
    /// Starts listening in the namespace that the thread is inside; who waits does so in `runtime`,
    /// anywhere: a socket stays in the namespace it was made in.
    ///
    /// # Errors
    /// [`Error::Resources`].
    pub fn open(inside: &Inside, runtime: &Handle) -> Result<Self, Error> {
        let _in_runtime = runtime.enter();
        let opened = || {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
            Ok(socket)
        };
        let socket = opened().map_err(|source| Error::Resources {
            what: "listen to changes",
            netns: inside.name().to_owned(),
            source,
        })?;
        Ok(Self { socket })
    }

    /// Waits until something has changed since the last call. May be dropped at any time without
    /// losing a change.
    ///
    /// # Errors
    /// When the runtime or the socket fails.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut message = Vec::with_capacity(ROOM);
        loop {
            message.clear();
            let heard = self.socket.recv_from(&mut message).await.map(drop);
            let first = hear(heard.map(|()| &message[..]))?;
            if first.or(self.rest()?) == Heard::Change {
                return Ok(());
            }
        }
    }

    /// Returns whether something has changed since the last call, without waiting.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn has_changed(&mut self) -> io::Result<bool> {
        Ok(self.rest()? == Heard::Change)
    }

    /// Reads all that waits.
    fn rest(&self) -> io::Result<Heard> {
        let (mut heard, mut buffer) = (Heard::Nothing, [0; ROOM]);
        let socket = self.socket.as_raw_fd();
        loop {
            match recv(socket, &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(heard),
                other => {
                    let message = other.map(|len| &buffer[..len]);
                    heard = heard.or(hear(message.map_err(Into::into))?);
                }
            }
        }
    }
}

/// Bytes of a message that are looked at; all but a few have fewer.
const ROOM: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Change,
}

impl Heard {
    fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            Self::Change => Self::Change,
        }
    }
}

fn hear(message: io::Result<&[u8]>) -> io::Result<Heard> {
    match message {
        Ok(message) if !is_change(message) => Ok(Heard::Nothing),
        Ok(_) => Ok(Heard::Change),
        // Too many at once: some were dropped.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => Ok(Heard::Change),
        Err(error) => Err(error),
    }
}

/// `linux/rtnetlink.h`: RTMGRP_LINK, _TC, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x8 | 0x10 | 0x40 | 0x100 | 0x400;

/// Returns whether a datagram holds anything but routes to particular places.
fn is_change(mut messages: &[u8]) -> bool {
    const HEADER: usize = 16;
    const RTM_NEWROUTE: u16 = 24;
    const RTM_DELROUTE: u16 = 25;
    // Header (`nlmsghdr`): length, type; then `rtmsg`: family, length of the destination's prefix.
    while let Some(header) = messages.first_chunk::<{ HEADER + 2 }>() {
        let [l0, l1, l2, l3, t0, t1, ..] = *header;
        let kind = u16::from_ne_bytes([t0, t1]);
        let is_route = matches!(kind, RTM_NEWROUTE | RTM_DELROUTE);
        if !is_route || header[HEADER + 1] == 0 {
            return true;
        }
        let len = u32::from_ne_bytes([l0, l1, l2, l3]).next_multiple_of(4);
        let Some(rest) = messages.get(len.max(16) as usize..) else {
            return false;
        };
        messages = rest;
    }
    false
}
