//! TAP ports.

use super::{
    LIMIT, PEER, Wire, arp_request, config, gone, is_arp, namespace, next, open, readable, transmit,
};
use nix::errno::Errno;
use pipeline::{Batch, BatchLimits, DropReason, MAX_FRAME};
use port::tap::{Tap, TapConfig};
use port::{Gone, Offloads, PortError};
use testbed::{Namespace, link, traffic, wait_until};
use wire::VnetHeader;

fn arp_round_trip(config: TapConfig) {
    let guest = namespace();
    let mut port = open(&guest, config).into_port();
    link::address(&guest, "eth0", "10.1.0.2/24").unwrap();

    let request = arp_request(PEER, [10, 1, 0, 99], [10, 1, 0, 2]);
    transmit(&*port.tx, &request, VnetHeader::default()).unwrap();
    let (reply, vnet) = next(&mut *port.queues[0], |frame| is_arp(frame, 2)).unwrap();
    assert_eq!(reply[..6], PEER);
    assert_eq!(reply[28..32], [10, 1, 0, 2]);
    assert!(!vnet.is_gso() && !vnet.needs_csum());
}

#[test]
fn the_kernel_answers_arp_with_a_vnet_header() {
    arp_round_trip(config("eth0"));
}

#[test]
fn the_kernel_answers_arp_without_a_vnet_header() {
    arp_round_trip(TapConfig {
        vnet: false,
        ..config("eth0")
    });
}

#[test]
fn a_plain_tap_gets_finished_frames_even_where_a_vnet_tap_was() {
    let guest = namespace();
    let persistent = TapConfig {
        persistent: true,
        ..config("eth0")
    };
    drop(open(&guest, persistent.clone()));
    let plain = TapConfig {
        vnet: false,
        ..persistent
    };
    // A program that another test is about to start has a copy of the first descriptor until it executes.
    let mut tap = None;
    wait_until("the first descriptor to be closed", LIMIT, || {
        tap = guest.run(|| Tap::open(plain.clone())).ok();
        tap.is_some()
    })
    .unwrap();
    let port = tap.unwrap().into_port();
    assert_eq!(port.tx.offloads(), Offloads::NONE);
    let features = guest.output("ethtool", &["-k", "eth0"]).unwrap();
    assert!(
        features.contains("tcp-segmentation-offload: off"),
        "{features}"
    );
}

#[test]
fn a_vnet_tap_takes_everything_unfinished() {
    let guest = namespace();
    let port = open(&guest, config("eth0")).into_port();
    assert_eq!(port.tx.offloads(), Offloads::ALL);
}

#[test]
fn a_persistent_tap_outlives_its_port_and_is_attached_again() {
    let guest = namespace();
    let persistent = TapConfig {
        persistent: true,
        ..config("eth0")
    };
    let first = open(&guest, persistent.clone());
    link::address(&guest, "eth0", "10.1.0.2/24").unwrap();
    let index = first.index();
    drop(first.into_port());
    assert!(
        guest
            .ip("address show eth0")
            .unwrap()
            .contains("10.1.0.2/24")
    );

    let again = open(&guest, persistent);
    link::await_carrier(&guest, "eth0").unwrap();
    assert_eq!(again.index(), index);
    let persistence = again.persistence();
    let mut port = again.into_port();
    transmit(
        &*port.tx,
        &arp_request(PEER, [10, 1, 0, 99], [10, 1, 0, 2]),
        VnetHeader::default(),
    )
    .unwrap();
    next(&mut *port.queues[0], |frame| is_arp(frame, 2)).unwrap();

    persistence.set(false).unwrap();
    drop((port, persistence));
    let exists = || guest.ip("link show eth0").is_ok();
    wait_until("the end of eth0", LIMIT, || !exists()).unwrap();
}

#[test]
fn a_second_opener_is_refused() {
    let guest = namespace();
    let _first = open(&guest, config("eth0"));
    let error = guest.run(|| Tap::open(config("eth0"))).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EBUSY as i32), "{error}");
    assert!(error.to_string().contains("eth0"), "{error}");
}

#[test]
fn the_name_of_another_kind_of_interface_is_refused() {
    let guest = namespace();
    let error = guest.run(|| Tap::open(config("lo"))).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32), "{error}");
}

#[test]
fn the_number_of_queues_is_checked() {
    for queues in [0, TapConfig::MAX_QUEUES + 1] {
        let error = Tap::open(TapConfig {
            queues,
            ..config("eth0")
        })
        .unwrap_err();
        assert!(
            matches!(error, PortError::Queues { got, max: 256 } if got == queues),
            "{error}"
        );
    }
}

#[test]
fn several_queues_are_one_interface() {
    let guest = namespace();
    let mut port = open(
        &guest,
        TapConfig {
            queues: 3,
            ..config("eth0")
        },
    )
    .into_port();
    assert_eq!(port.queues.len(), 3);
    link::address(&guest, "eth0", "10.1.0.2/24").unwrap();
    transmit(
        &*port.tx,
        &arp_request(PEER, [10, 1, 0, 99], [10, 1, 0, 2]),
        VnetHeader::default(),
    )
    .unwrap();
    let mut batch = Batch::new(BatchLimits::default());
    wait_until("the reply in one of the queues", LIMIT, || {
        port.queues.iter_mut().any(|queue| {
            batch.clear();
            queue.receive(&mut batch).unwrap();
            (0..batch.len()).any(|index| is_arp(batch.frame(index).bytes(), 2))
        })
    })
    .unwrap();
}

#[test]
fn a_removed_tap_is_gone_in_both_directions() {
    let guest = namespace();
    let mut port = open(&guest, config("eth0")).into_port();
    guest.ip("link set eth0 up").unwrap();
    guest.ip("link delete eth0").unwrap();
    assert!(
        readable(&*port.queues[0], LIMIT),
        "a removed interface wakes its reader"
    );
    assert_eq!(gone(&mut *port.queues[0]), Gone::Removed);
    let frame = arp_request(PEER, [10, 1, 0, 99], [10, 1, 0, 2]);
    assert_eq!(
        transmit(&*port.tx, &frame, VnetHeader::default()),
        Err(DropReason::TxGone)
    );
}

#[test]
fn a_tap_removed_while_its_reader_waits_wakes_it() {
    let guest = namespace();
    let mut port = open(&guest, config("eth0")).into_port();
    let reader = std::thread::spawn(move || gone(&mut *port.queues[0]));
    guest.ip("link delete eth0").unwrap();
    assert_eq!(reader.join().unwrap(), Gone::Removed);
}

#[test]
fn an_interface_that_is_down_drops_what_is_sent_and_recovers() {
    let guest = namespace();
    let mut port = open(&guest, config("eth0")).into_port();
    let frame = arp_request(PEER, [10, 1, 0, 99], [10, 1, 0, 2]);
    assert_eq!(
        transmit(&*port.tx, &frame, VnetHeader::default()),
        Err(DropReason::TxDown)
    );
    link::address(&guest, "eth0", "10.1.0.2/24").unwrap();
    transmit(&*port.tx, &frame, VnetHeader::default()).unwrap();
    next(&mut *port.queues[0], |frame| is_arp(frame, 2)).unwrap();
    guest.ip("link set eth0 down").unwrap();
    assert_eq!(
        transmit(&*port.tx, &frame, VnetHeader::default()),
        Err(DropReason::TxDown)
    );
    let mut batch = Batch::new(BatchLimits::default());
    assert_eq!(
        port.queues[0].receive(&mut batch),
        Ok(()),
        "down is not gone"
    );
}

#[test]
fn a_contradictory_vnet_header_is_refused() {
    let guest = namespace();
    let port = open(&guest, config("eth0")).into_port();
    guest.ip("link set eth0 up").unwrap();
    let frame = arp_request(PEER, [10, 1, 0, 99], [10, 1, 0, 2]);
    let outside = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: 60_000,
        ..VnetHeader::default()
    };
    assert_eq!(
        transmit(&*port.tx, &frame, outside),
        Err(DropReason::TxRefused)
    );
}

#[test]
fn the_longest_ip_packet_is_not_marked_as_cut_off() {
    let guest = namespace();
    let mut port = open(&guest, config("eth0")).into_port();
    guest.ip("link set eth0 mtu 65521").unwrap();
    link::address(&guest, "eth0", "10.1.0.2/24").unwrap();
    guest
        .ip("neighbour add 10.1.0.99 lladdr 02:00:00:00:00:63 dev eth0")
        .unwrap();
    let send = || {
        let socket = std::net::UdpSocket::bind("10.1.0.2:0").unwrap();
        socket
            .send_to(&vec![7; 65_521 - 28], "10.1.0.99:9")
            .unwrap();
    };
    guest.run(send);
    let (frame, _) = next(&mut *port.queues[0], |frame| frame.len() > 60_000).unwrap();
    assert_eq!(frame.len(), 65_521 + 14);
    assert!(frame.len() < MAX_FRAME);
}

fn two_guests_on_a_wire(config: &TapConfig) -> (Namespace, Namespace, Wire) {
    let (a, b) = (namespace(), namespace());
    let ports = [(&a, "10.1.0.1/24"), (&b, "10.1.0.2/24")].map(|(guest, address)| {
        let port = open(guest, config.clone()).into_port();
        link::address(guest, "eth0", address).unwrap();
        port
    });
    let [left, right] = ports;
    (a, b, Wire::new(left, right))
}

#[test]
fn superframes_pass_whole() {
    let (a, b, wire) = two_guests_on_a_wire(&config("eth0"));
    let report = traffic::tcp_bulk(
        &a,
        &b,
        "10.1.0.1".parse().unwrap(),
        traffic::Amount::Bytes(32 << 20),
        1,
    );
    assert_eq!(report.unwrap().bytes, 32 << 20);
    assert!(wire.superframes() > 0);
    assert!(wire.longest() > 30_000, "{:?}", wire.longest());
}

#[test]
fn a_plain_tap_carries_the_same_bytes_in_plain_frames() {
    let (a, b, wire) = two_guests_on_a_wire(&TapConfig {
        vnet: false,
        ..config("eth0")
    });
    let report = traffic::tcp_bulk(
        &a,
        &b,
        "10.1.0.1".parse().unwrap(),
        traffic::Amount::Bytes(4 << 20),
        1,
    );
    assert_eq!(report.unwrap().bytes, 4 << 20);
    assert_eq!(wire.superframes(), 0);
    assert!(wire.longest() <= 1514, "{:?}", wire.longest());
}
