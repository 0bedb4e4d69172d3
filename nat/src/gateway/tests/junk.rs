//! Any bytes: nothing panics, nothing unsound is sent, and asking and doing agree.

use super::{GATEWAY, Lab, PEER, PORT, leasing_with};
use crate::gateway::{ErrorKind, Reported};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::craft::{Link, TcpSegment};
use wire::{EtherType, IpProtocol, MacAddr, TcpFlags, VnetHeader};

fn lab() -> Lab {
    leasing_with(|role| role.settings.slaac = true)
}

/// A DHCP discovery, then one solicitation of DHCPv6.
fn dhcp() -> [Vec<u8>; 2] {
    let mut discover = vec![0; 240];
    discover[..3].copy_from_slice(&[1, 1, 6]);
    discover[28..34].copy_from_slice(&PEER.0);
    discover[236..].copy_from_slice(&[99, 130, 83, 99]);
    discover.extend([53, 1, 1, 50, 4, 10, 1, 0, 77, 61, 3, 1, 2, 3, 255]);
    let mut solicit = vec![1, 7, 8, 9, 0, 1, 0, 4, 1, 2, 3, 4];
    solicit.extend([0, 3, 0, 12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0]);
    let (us, servers) = ("fe80::9".parse().unwrap(), "ff02::1:2".parse().unwrap());
    let v4 = Link::new(PEER, MacAddr::BROADCAST).ipv4([0; 4].into(), [255; 4].into());
    let v6 = Link::new(PEER, MacAddr([0x33, 0x33, 0, 1, 0, 2])).ipv6(us, servers);
    [v4.udp(68, 67, &discover), v6.udp(546, 547, &solicit)]
}

#[test]
fn the_seeds_of_dhcp_are_answered() {
    for frame in dhcp() {
        assert_eq!(lab().hear(&frame), Ok(()));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let link = Link::new(PEER, GATEWAY);
    let v4 = link
        .clone()
        .ipv4([10, 1, 0, 9].into(), [10, 1, 0, 1].into());
    let (them, us) = (
        "2001:db8:1::9".parse().unwrap(),
        "2001:db8:1::1".parse().unwrap(),
    );
    let v6 = link.clone().ipv6(them, us);
    let syn = TcpSegment {
        flags: TcpFlags::SYN,
        ..TcpSegment::default()
    };
    let [discover, solicit] = dhcp();
    vec![
        discover,
        solicit,
        link.arp_request([10, 1, 0, 9].into(), [10, 1, 0, 1].into()),
        link.arp_reply([10, 1, 0, 9].into(), [10, 1, 0, 1].into()),
        v4.echo_request(1, 2, b"payload"),
        v4.tcp(syn),
        v4.udp(1, 2, b"payload"),
        v6.echo_request(1, 2, b"payload"),
        v6.tcp(syn),
        v6.udp(1, 2, b"payload"),
        link.neighbour_solicit(them, us, us),
        link.neighbour_advert(them, us, them),
        v6.hops(255)
            .raw(IpProtocol::ICMPV6, &[133, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

/// A seed with some bytes changed, cut or grown.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (
        prop::sample::select(seeds()),
        damage,
        0..3_usize,
        any::<prop::sample::Index>(),
    )
        .prop_map(|(mut frame, damage, size, cut)| {
            for (at, byte) in damage {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            match size {
                1 => frame.truncate(14 + cut.index(frame.len() - 14)),
                2 => frame.resize(frame.len() + cut.index(100), 7),
                _ => {}
            }
            // What the switch lets come from anybody but the gateway.
            frame[6..12].copy_from_slice(&PEER.0);
            frame
        })
}

fn hear(lab: &mut Lab, frame: &[u8]) {
    // A checksum the sender did not finish lets damaged bytes through to where they hurt.
    let vouched = VnetHeader {
        flags: VnetHeader::DATA_VALID,
        ..VnetHeader::default()
    };
    lab.claims(frame);
    lab.observe(frame);
    let _ = lab.hear(frame);
    let _ = lab.hear_vnet(frame, vouched);
    let _ = lab.next_hop("10.1.0.77", frame, PORT);
    let told = lab.both(frame, vouched, |link, arrival, outbox, trace| {
        link.tell(ErrorKind::TimeExceeded, arrival, outbox, trace)
    });
    assert!(told != Reported::Sent || !MacAddr(frame[..6].try_into().unwrap()).is_group());
    lab.posted();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_frames_do_no_harm(frames in vec(frames(), 1..6)) {
        let mut lab = lab();
        for frame in frames {
            hear(&mut lab, &frame);
        }
        lab.pass(5);
        lab.posted();
    }

    #[test]
    fn noise_does_no_harm(kind in prop::sample::select(vec![0x0800_u16, 0x0806, 0x86dd]), bytes in vec(any::<u8>(), 0..120)) {
        let frame = Link::new(PEER, GATEWAY).raw(EtherType(kind), &bytes);
        hear(&mut lab(), &frame);
    }
}
