//! Packet ports.

use super::{LIMIT, PEER, Wire, arp_request, gone, is_arp, namespace, next, readable, transmit};
use nix::errno::Errno;
use pipeline::{Batch, BatchLimits, DropReason, MAX_FRAME};
use port::{Gone, Port, packet};
use std::net::Ipv6Addr;
use testbed::{Namespace, cannot_run, link, traffic, wait_until};
use wire::craft::{self, Link};
use wire::{MacAddr, VlanTag, VnetHeader};

/// A port on the host's end `p0` of a veth whose other end is the guest's `eth0`.
fn attached(host: &Namespace, guest: &Namespace) -> Port {
    link::veth(host, "p0", guest, "eth0").unwrap();
    open(host, "p0")
}

fn open(namespace: &Namespace, name: &str) -> Port {
    namespace
        .run(|| packet::open(&name.parse().unwrap()))
        .unwrap()
}

#[test]
fn the_kernel_behind_a_veth_answers() {
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    link::address(&guest, "eth0", "10.5.0.2/24").unwrap();
    let request = arp_request(PEER, [10, 5, 0, 99], [10, 5, 0, 2]);
    transmit(&*port.tx, &request, VnetHeader::default()).unwrap();
    let (reply, _) = next(&mut *port.queues[0], |frame| is_arp(frame, 2)).unwrap();
    assert_eq!(reply[..6], PEER);
}

#[test]
fn what_is_sent_through_the_interface_is_not_received() {
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    let second = open(&host, "p0");
    link::address(&guest, "eth0", "10.5.0.2/24").unwrap();
    let request = arp_request(PEER, [10, 5, 0, 99], [10, 5, 0, 2]);
    for sender in [&port.tx, &second.tx] {
        transmit(&**sender, &request, VnetHeader::default()).unwrap();
    }
    for _ in 0..2 {
        let (first, _) = next(&mut *port.queues[0], |frame| {
            is_arp(frame, 1) || is_arp(frame, 2)
        })
        .unwrap();
        assert!(is_arp(&first, 2), "a request that went out came in");
    }
}

#[test]
fn the_interface_is_promiscuous_as_long_as_the_port_is_open() {
    let (host, guest) = (namespace(), namespace());
    let port = attached(&host, &guest);
    let details = || host.ip("-d link show p0").unwrap();
    assert!(details().contains("promiscuity 1"), "{}", details());
    drop(port);
    wait_until("the end of promiscuity", LIMIT, || {
        details().contains("promiscuity 0")
    })
    .unwrap();
}

#[test]
fn it_receives_what_is_addressed_to_somebody_else() {
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    let far = open(&guest, "eth0");
    let mut frame = arp_request(PEER, [10, 5, 0, 99], [10, 5, 0, 2]);
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    transmit(&*far.tx, &frame, VnetHeader::default()).unwrap();
    let (got, _) = next(&mut *port.queues[0], |frame| is_arp(frame, 1)).unwrap();
    assert_eq!(got, frame);
}

/// A UDP datagram whose checksum is unfinished, in a frame with these tags.
fn tagged_datagram(tags: &[VlanTag]) -> (Vec<u8>, VnetHeader) {
    let link = Link::new(MacAddr(PEER), MacAddr([2, 0, 0, 0, 0, 0x77]));
    let link = tags.iter().copied().fold(link, Link::tag);
    let packet = link.ipv4([10, 5, 0, 1].into(), [10, 5, 0, 2].into());
    let mut frame = packet.udp(9, 9, b"twelve bytes");
    let vnet = craft::unfinish(&mut frame).unwrap();
    (frame, vnet)
}

#[test]
fn stripped_vlan_tags_are_put_back_and_offsets_follow() {
    let customer = VlanTag {
        tpid: VlanTag::CTAG,
        tci: 0x6007,
    };
    let priority = VlanTag {
        tpid: VlanTag::CTAG,
        tci: 0xe000,
    };
    let service = VlanTag {
        tpid: VlanTag::STAG,
        tci: 0x0064,
    };
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    let far = open(&guest, "eth0");
    for tags in [
        &[][..],
        &[customer],
        &[priority],
        &[service],
        &[service, customer],
    ] {
        let (frame, vnet) = tagged_datagram(tags);
        transmit(&*far.tx, &frame, vnet).unwrap();
        let (got, with) = next(&mut *port.queues[0], |frame| {
            frame.get(6..12) == Some(&PEER)
        })
        .unwrap();
        assert_eq!(got, frame, "{tags:?}");
        assert_eq!(
            (with.needs_csum(), with.csum_start, with.csum_offset),
            (true, vnet.csum_start, 6),
            "{tags:?}"
        );
    }
}

fn two_guests_on_a_wire() -> (Namespace, Namespace, Namespace, Wire) {
    let (a, b, host) = (namespace(), namespace(), namespace());
    for (guest, port, address) in [(&a, "p1", "10.5.0.1/24"), (&b, "p2", "10.5.0.2/24")] {
        link::veth(&host, port, guest, "eth0").unwrap();
        link::address(guest, "eth0", address).unwrap();
    }
    let wire = Wire::new(open(&host, "p1"), open(&host, "p2"));
    (a, b, host, wire)
}

#[test]
fn superframes_pass_whole_and_unharmed() {
    let (a, b, _host, wire) = two_guests_on_a_wire();
    traffic::tcp_exact(&a, &b, "10.5.0.1".parse().unwrap(), 16 << 20).unwrap();
    assert!(wire.superframes() > 0);
    assert!(wire.longest() > 1514, "{}", wire.longest());
}

#[test]
fn a_superframe_that_is_too_long_is_marked_not_misread() {
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    if let Err(error) = guest.ip("link set eth0 gso_max_size 180000") {
        return cannot_run(&format!("no superframes beyond 64 KiB here: {error}"));
    }
    let far = open(&guest, "eth0");
    let mut frame = vec![0; 100_000];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    frame[6..12].copy_from_slice(&PEER);
    // IPv6 and TCP; a payload length of 0 is how the kernel says that it does not fit 16 bits.
    frame[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64]);
    frame[22..38].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    frame[38..54].copy_from_slice(&"2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    frame[66] = 0x50;
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: VnetHeader::GSO_TCPV6,
        hdr_len: 74,
        gso_size: 1428,
        csum_start: 54,
        csum_offset: 16,
    };
    transmit(&*far.tx, &frame, vnet).unwrap();
    let (got, _) = next(&mut *port.queues[0], |frame| {
        frame.get(6..12) == Some(&PEER)
    })
    .unwrap();
    assert_eq!(got.len(), MAX_FRAME);
}

#[test]
fn a_frame_beyond_the_mtu_is_refused() {
    let (host, guest) = (namespace(), namespace());
    let port = attached(&host, &guest);
    let mut frame = arp_request(PEER, [10, 5, 0, 99], [10, 5, 0, 2]);
    frame.resize(1600, 0);
    assert_eq!(
        transmit(&*port.tx, &frame, VnetHeader::default()),
        Err(DropReason::TxRefused)
    );
}

#[test]
fn an_interface_set_down_is_gone() {
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    host.ip("link set p0 down").unwrap();
    assert!(
        readable(&*port.queues[0], LIMIT),
        "an interface set down wakes its reader"
    );
    assert_eq!(gone(&mut *port.queues[0]), Gone::Down);
    let frame = arp_request(PEER, [10, 5, 0, 99], [10, 5, 0, 2]);
    assert_eq!(
        transmit(&*port.tx, &frame, VnetHeader::default()),
        Err(DropReason::TxDown)
    );
}

#[test]
fn a_removed_interface_is_gone() {
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    guest.ip("link delete eth0").unwrap();
    assert_eq!(gone(&mut *port.queues[0]), Gone::Removed);
    let frame = arp_request(PEER, [10, 5, 0, 99], [10, 5, 0, 2]);
    assert_eq!(
        transmit(&*port.tx, &frame, VnetHeader::default()),
        Err(DropReason::TxGone)
    );
}

#[test]
fn the_end_of_the_guests_namespace_ends_the_port() {
    let (host, guest) = (namespace(), namespace());
    let mut port = attached(&host, &guest);
    drop(guest);
    assert!(matches!(
        gone(&mut *port.queues[0]),
        Gone::Removed | Gone::Down
    ));
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let host = namespace();
    let error = host
        .run(|| packet::open(&"nothere".parse().unwrap()))
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ENODEV as i32));
    assert!(error.to_string().contains("nothere"), "{error}");
    let error = host.run(|| packet::open_index(4711)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ENODEV as i32));
    assert!(error.to_string().contains("4711"), "{error}");
}

#[test]
fn nothing_waits_and_nothing_is_received() {
    let host = namespace();
    host.ip("link add p0 type veth peer name p1").unwrap();
    let no_ipv6 = [
        "-qw",
        "net.ipv6.conf.p0.disable_ipv6=1",
        "net.ipv6.conf.p1.disable_ipv6=1",
    ];
    host.output("sysctl", &no_ipv6).unwrap();
    host.ip("link set p0 up").unwrap();
    host.ip("link set p1 up").unwrap();
    let mut port = open(&host, "p0");
    let mut batch = Batch::new(BatchLimits::default());
    assert_eq!(port.queues[0].receive(&mut batch), Ok(()));
    assert!(batch.is_empty());
}
