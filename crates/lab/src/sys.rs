//! The one kernel call that no safe wrapper exists for: a frame on an interface, byte by byte.

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io;

/// Sends `frame` as it is, from the interface `index` of the calling thread's namespace.
pub(crate) fn send_frame(index: u32, frame: &[u8]) -> io::Result<()> {
    // Protocol 0: the socket receives nothing.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None::<Protocol>)?;
    socket.send_to(frame, &link_address(index)?).map(drop)
}

fn link_address(index: u32) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    let length = size_of::<libc::sockaddr_ll>();
    // SAFETY: `sockaddr_ll` is a plain C structure, one of those that a `sockaddr_storage` is made
    // to hold: no larger, and all zeroes are a value of it.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET.try_into().map_err(io::Error::other)?;
    address.sll_ifindex = index.try_into().map_err(io::Error::other)?;
    let length = length.try_into().map_err(io::Error::other)?;
    // SAFETY: the storage holds an initialised `sockaddr_ll`, whose size is `length`.
    Ok(unsafe { SockAddr::new(storage, length) })
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use std::time::Duration;
    use testbed::Namespace;

    /// `ETH_P_ALL` in network order.
    const EVERYTHING: i32 = 0x0300;

    #[test]
    fn a_frame_is_sent_as_it_is() {
        let sent: Vec<u8> = (0..60).collect();
        let received = Namespace::new().unwrap().run(|| {
            let ear = Socket::new(Domain::PACKET, Type::RAW, Some(EVERYTHING.into())).unwrap();
            ear.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            // Of a namespace's interfaces the first is lo.
            send_frame(1, &sent).unwrap();
            let mut frame = vec![0; 100];
            let length = io::Read::read(&mut &ear, &mut frame).unwrap();
            frame.truncate(length);
            frame
        });
        assert_eq!(received, sent);
    }

    #[test]
    fn no_frame_leaves_an_interface_that_does_not_exist() {
        let error = Namespace::new()
            .unwrap()
            .run(|| send_frame(77, &[0; 60]).unwrap_err());
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    }
}
