//! VLANs between containers, and trunks between switches.

use crate::fixture::{Clearway, SOON};
use api::VlanMode;
use testbed::traffic::tcp_exact;
use testbed::{link, wait_until};

fn vid(vlan: u16) -> api::VlanId {
    vlan.try_into().unwrap()
}

#[test]
fn a_vlan_is_a_world_of_its_own() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let within = |vlan| clearway.container_with(&net, |a| a.vlan = Some(vid(vlan)));
    let (a, b, c) = (within(10), within(10), within(20));
    a.reaches(b.ip(0));
    assert_eq!(a.ping(c.ip(0), 2).received, 0);
    assert_eq!(c.ping(a.ip(0), 2).received, 0);
}

/// Two switches joined by a veth that carries tags, as two hosts are by a trunk.
#[test]
fn a_trunk_joins_vlan_to_vlan_with_unfinished_checksums() {
    let (one, other) = (Clearway::start(), Clearway::start());
    link::veth(&one.host, "v0", &other.host, "v0").unwrap();
    let trunk = |clearway: &Clearway, net: &api::Name| {
        clearway.packet_port("trunk", "v0", |p| {
            p.network = Some(net.clone());
            p.vlan = Some(VlanMode::Trunk {
                allowed: vec![vid(10), vid(20)].into(),
                native: Some(vid(30)),
                native_tagged: false,
            });
        });
    };
    let nets = [&one, &other].map(|clearway| {
        let net = clearway.network("blue", 10);
        trunk(clearway, &net);
        net
    });
    let mut host = 0u8;
    let mut member = |index: usize, vlan| {
        host += 1;
        let clearway = [&one, &other][index];
        clearway.container_with(&nets[index], |a| {
            a.vlan = Some(vid(vlan));
            a.addresses = vec![format!("10.10.9.{host}/16").parse().unwrap()];
        })
    };
    let pairs = [10, 20, 30].map(|vlan| (member(0, vlan), member(1, vlan)));
    let stranger = (member(0, 40), member(1, 40));
    for (a, b) in &pairs {
        a.reaches(b.ip(0));
        // A tag moves where the checksum starts: only data can tell that it moved rightly.
        tcp_exact(&b.ns, &a.ns, b.ip(0), 20 << 20).unwrap();
        tcp_exact(&a.ns, &b.ns, a.ip(0), 20 << 20).unwrap();
    }
    assert_eq!(pairs[0].0.ping(pairs[1].1.ip(0), 2).received, 0);
    assert_eq!(
        stranger.0.ping(stranger.1.ip(0), 2).received,
        0,
        "a VLAN the trunk does not carry"
    );
}

#[test]
fn a_trunk_refuses_what_it_does_not_carry() {
    let (one, other) = (Clearway::start(), Clearway::start());
    link::veth(&one.host, "v0", &other.host, "v0").unwrap();
    let join = |clearway: &Clearway, allowed: &[u16], native: Option<u16>| {
        let net = clearway.network("blue", 10);
        let mode = VlanMode::Trunk {
            allowed: allowed.iter().copied().map(vid).collect::<Vec<_>>().into(),
            native: native.map(vid),
            native_tagged: false,
        };
        clearway.packet_port("trunk", "v0", |p| {
            p.network = Some(net.clone());
            p.vlan = Some(mode);
        });
        net
    };
    let (from, _) = (join(&one, &[10, 20], Some(30)), join(&other, &[10], None));
    for vlan in [20, 30] {
        let lost = one.container_with(&from, |a| a.vlan = Some(vid(vlan)));
        assert_eq!(lost.ping("10.10.200.1".parse().unwrap(), 1).received, 0);
    }
    wait_until("a refused VLAN", SOON, || {
        other.dropped("vlan_not_allowed") > 0
    })
    .unwrap();
    wait_until("a refused untagged frame", SOON, || {
        other.dropped("vlan_untagged_refused") > 0
    })
    .unwrap();
}
