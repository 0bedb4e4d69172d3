//! Any bytes parse, or are refused, and what is parsed lies inside them.

use wire::checksum::{verify_ipv4, verify_transport};
use wire::{Headers, Net, Transport};

/// Parses `data` as a frame.
///
/// # Panics
/// When a header is said to lie outside the frame, or two answers contradict each other.
pub fn parse(data: &[u8]) {
    let Ok(headers) = Headers::parse(data) else {
        assert!(
            data.len() < 22,
            "only the Ethernet header and two tags are a must"
        );
        return;
    };
    let end = headers.header_len();
    assert!(
        usize::from(headers.l3) <= end && end + headers.payload_len() <= data.len(),
        "{headers:?}"
    );
    assert!(headers.inner.is_none() || headers.outer.is_some());
    if let (Some(transport), Some(packet)) = (headers.transport_offset(), headers.packet_end()) {
        assert!(
            transport <= end && end <= packet && packet <= data.len(),
            "{headers:?}"
        );
    } else {
        assert_eq!(headers.transport, Transport::None);
    }
    if let Net::Ipv6(ip) = headers.net {
        assert!(
            ip.fragment
                .is_none_or(|f| f.is_first() || headers.transport == Transport::None)
        );
    }
    let _ = (
        verify_ipv4(data, &headers),
        verify_transport(data, &headers),
    );

    // Padding is no part of any header.
    if !matches!(headers.net, Net::Malformed(_)) && headers.packet_end() == Some(data.len()) {
        let padded = [data, &[0xa5; 9]].concat();
        assert_eq!(Headers::parse(&padded), Ok(headers));
    }
}
