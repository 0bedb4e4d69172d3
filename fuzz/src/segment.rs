//! Any virtio header on any frame is refused, or does what it says.
//!
//! ```text
//!   data:  | virtio header 10 | frame … |
//! ```

use wire::checksum::{Verified, complete, verify_transport};
use wire::{Headers, MAX_SEGMENTS, Transport, VnetHeader, check_vnet, wire_mtu};

/// Room before each segment.
const START: usize = 64;

/// Cuts and finishes the frame in `data`.
///
/// # Panics
/// When what comes out is not a sound, finished frame within the promised size.
pub fn segment(data: &[u8]) {
    let Some((&vnet, frame)) = data.split_first_chunk::<{ VnetHeader::LEN }>() else {
        return;
    };
    let vnet = VnetHeader::from_bytes(vnet);
    let Ok(headers) = Headers::parse(frame) else {
        return;
    };
    let fits = check_vnet(&vnet, &headers, frame.len());
    finish(frame, vnet, &headers, fits.is_ok());
    cut(frame, &vnet, &headers, fits.is_ok());
}

/// Finishes the checksum: nothing that was parsed may change by it.
fn finish(frame: &[u8], mut vnet: VnetHeader, headers: &Headers, fits: bool) {
    let mut finished = frame.to_vec();
    let completed = complete(&mut finished, &mut vnet);
    if fits {
        assert_eq!(completed, Ok(()), "what was checked can be completed");
        assert!(!vnet.needs_csum());
        assert_eq!(Headers::parse(&finished).as_ref(), Ok(headers));
    }
}

fn cut(frame: &[u8], vnet: &VnetHeader, headers: &Headers, fits: bool) {
    let mut room = vec![0; START + frame.len()];
    let largest = usize::from(headers.l3) + wire_mtu(vnet, headers, frame.len());
    let (mut payload, mut emitted) = (0, 0);
    let answer = wire::segment(frame, vnet, &mut room, START, |room| {
        let segment = &room[START..];
        let found = Headers::parse(segment).expect("a segment has the superframe's headers");
        assert!(
            segment.len() <= largest,
            "{} bytes, {largest} were promised",
            segment.len()
        );
        assert_eq!(found.packet_end(), Some(segment.len()));
        assert_eq!(found.header_len(), headers.header_len());
        assert_eq!(found.transport.ports(), headers.transport.ports());
        let state = verify_transport(segment, &found);
        // Started from a wrong unfinished sum, it cannot come out right; but it is there.
        assert!(
            vnet.needs_csum()
                || state != Verified::Wrong
                || matches!(found.net, wire::Net::Ipv6(_)),
            "{found:?}"
        );
        payload += found.payload_len();
        emitted += 1;
        room.fill(0x5a);
    });
    assert_eq!(answer.is_ok(), fits && vnet.is_gso(), "{answer:?}");
    if let Ok(count) = answer {
        assert!(count == emitted && count <= MAX_SEGMENTS.max(1));
        assert_eq!(payload, headers.payload_len());
        assert!(matches!(
            headers.transport,
            Transport::Tcp(_) | Transport::Udp(_)
        ));
    }
}
