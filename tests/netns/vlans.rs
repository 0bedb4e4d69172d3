//! VLANs between containers, and a trunk to the kernel's own VLAN devices.

use crate::fixture::{Clearway, SOON};
use api::VlanMode;
use testbed::traffic::{Ping, ping, tcp_exact};
use testbed::{Namespace, link, wait_until};

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

#[test]
fn a_trunk_meets_the_kernels_vlan_devices_with_unfinished_checksums() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let ten = clearway.container_with(&net, |a| a.vlan = Some(vid(10)));
    let twenty = clearway.container_with(&net, |a| a.vlan = Some(vid(20)));
    let native = clearway.container_with(&net, |a| a.vlan = Some(vid(30)));

    let router = Namespace::new().unwrap();
    link::veth(&clearway.host, "v0", &router, "eth0").unwrap();
    link::address(&router, "eth0", "10.10.30.1/16").unwrap();
    for vlan in [10, 20] {
        let device = link::vlan(&router, "eth0", vlan).unwrap();
        // Narrower than the network, so that each VLAN has a route of its own.
        router
            .ip(&format!("address add 10.10.{vlan}.1/32 dev {device}"))
            .unwrap();
    }
    router
        .ip(&format!("route add {} dev eth0.10", ten.ip(0)))
        .unwrap();
    router
        .ip(&format!("route add {} dev eth0.20", twenty.ip(0)))
        .unwrap();
    clearway.packet_port("trunk", "v0", |p| {
        p.network = Some(net.clone());
        p.vlan = Some(VlanMode::Trunk {
            allowed: vec![vid(10), vid(20)],
            native: Some(vid(30)),
            native_tagged: false,
        });
    });

    ten.reaches("10.10.10.1".parse().unwrap());
    twenty.reaches("10.10.20.1".parse().unwrap());
    native.reaches("10.10.30.1".parse().unwrap());
    // A tag moves where the checksum starts: only data can tell that it moved rightly.
    tcp_exact(&router, &ten.ns, "10.10.10.1".parse().unwrap(), 20 << 20).unwrap();
    tcp_exact(&ten.ns, &router, ten.ip(0), 20 << 20).unwrap();
}

#[test]
fn a_trunk_into_a_container_carries_only_its_vlans() {
    let clearway = Clearway::start();
    let net = clearway.network("blue", 10);
    let plain = clearway.container_with(&net, |a| a.vlan = Some(vid(10)));
    let trunk = clearway.container_with(&net, |a| a.locked = false);
    let mode = VlanMode::Trunk {
        allowed: vec![vid(10)],
        native: None,
        native_tagged: false,
    };
    let set = api::PortSet {
        vlan: Some(Some(mode)),
        ..api::PortSet::default()
    };
    clearway
        .client()
        .port_set(&trunk.endpoint.port, &set)
        .unwrap();
    for vlan in [10, 11] {
        let device = link::vlan(&trunk.ns, "eth0", vlan).unwrap();
        link::address(&trunk.ns, &device, &format!("10.10.77.{vlan}/32")).unwrap();
    }
    trunk
        .ns
        .ip(&format!("route add {} dev eth0.10", plain.ip(0)))
        .unwrap();
    plain.reaches("10.10.77.10".parse().unwrap());
    tcp_exact(
        &trunk.ns,
        &plain.ns,
        "10.10.77.10".parse().unwrap(),
        20 << 20,
    )
    .unwrap();
    trunk.ns.ip("route add 10.10.200.1/32 dev eth0.11").unwrap();
    let lost = Ping {
        count: 1,
        ..Ping::new("10.10.200.1".parse().unwrap())
    };
    assert_eq!(ping(&trunk.ns, &lost).unwrap().received, 0);
    wait_until("a refused VLAN", SOON, || {
        clearway.dropped("vlan_not_allowed") > 0
    })
    .unwrap();
    wait_until("a refused untagged frame", SOON, || {
        clearway.dropped("vlan_untagged_refused") > 0
    })
    .unwrap();
}
