//! Ports taken off a bridge, and given back.

use super::{found, with_links};
use crate::fixture::without_a_daemon;
use host::{Error, Gateway, GatewayPort, Links, Netns, Stack, doctor};
use offload::{Interfaces, Offload, Room};
use testbed::{Namespace, link};

const MAC: [u8; 6] = [2, 0x42, 0xac, 0x11, 0, 2];

/// A host with docker0 as Docker makes it and a container on it, by veth0.
struct Host {
    host: Namespace,
    container: Namespace,
    netns: Netns,
}

impl Host {
    fn new() -> Self {
        let [host, container] = [(); 2].map(|()| Namespace::new().unwrap());
        let at_once = ["-qw", "net.ipv6.conf.default.accept_dad=0"];
        for namespace in [&host, &container] {
            namespace.output("sysctl", &at_once).unwrap();
        }
        link::veth(&host, "veth0", &container, "eth0").unwrap();
        container
            .ip("link set eth0 address 02:42:ac:11:00:02")
            .unwrap();
        host.ip("link add docker0 address 02:42:ac:11:00:01 type bridge")
            .unwrap();
        host.ip("link set veth0 master docker0 txqueuelen 0")
            .unwrap();
        link::address(&host, "docker0", "172.17.0.1/16").unwrap();
        link::address(&host, "docker0", "2001:db8:17::1/64").unwrap();
        link::address(&container, "eth0", "172.17.0.2/16").unwrap();
        link::await_carrier(&host, "docker0").unwrap();
        let netns = found(&host);
        Self {
            host,
            container,
            netns,
        }
    }

    fn links<T: Send>(&self, work: impl FnOnce(&Links) -> Result<T, Error> + Send) -> T {
        with_links(&self.netns, work)
    }

    /// Everything that could be changed, but for clocks.
    fn footprint(&self) -> String {
        link::await_carrier(&self.host, "docker0").unwrap();
        let shown = [
            "-d link",
            "-d address",
            "route show table all",
            "-6 route show table all",
        ];
        let shown = shown.map(|words| self.host.ip(words).unwrap());
        let tc = ["qdisc show", "filter show dev veth0 ingress"].map(|words| {
            self.host
                .output("tc", &words.split(' ').collect::<Vec<_>>())
                .unwrap()
        });
        let whole = shown
            .into_iter()
            .chain(tc)
            .collect::<Vec<_>>()
            .join("---\n");
        link::without_timers(&whole)
    }

    fn reaches_gateway(&self) -> bool {
        let ping = self
            .container
            .output("ping", &["-c", "1", "-W", "1", "172.17.0.1"]);
        ping.is_ok()
    }
}

#[test]
fn a_port_that_is_taken_off_is_unheard_and_as_it_was_when_it_is_given_back() {
    let it = Host::new();
    assert!(it.reaches_gateway());
    let before = it.footprint();
    it.links(|links| {
        links.take_over("veth0")?;
        links.take_over("veth0")
    });
    assert!(!it.reaches_gateway());
    let state = it.links(|links| links.state("veth0")).unwrap();
    assert_eq!(
        (state.master, state.alias.as_deref()),
        (None, Some("clearway adopted from docker0"))
    );
    assert_eq!(it.links(|links| links.taken_ports("docker0")), ["veth0"]);
    it.links(|links| {
        links.give_back("veth0")?;
        links.give_back("veth0")
    });
    assert_eq!(it.footprint(), before);
    assert!(it.reaches_gateway());
}

#[test]
fn hairpin_mode_comes_back() {
    let it = Host::new();
    it.host
        .ip("link set veth0 type bridge_slave hairpin on")
        .unwrap();
    let before = it.footprint();
    it.links(|links| links.take_over("veth0"));
    it.links(|links| links.give_back("veth0"));
    assert!(before.contains("hairpin on"));
    assert_eq!(it.footprint(), before);
}

#[test]
fn what_a_dead_daemon_took_is_seen_and_given_back() {
    let it = Host::new();
    let before = it.footprint();
    it.links(|links| links.take_over("veth0"));
    let findings = it.links(doctor::inspect);
    let seen: Vec<_> = findings
        .iter()
        .map(|it| format!("{}: {}", it.at, it.what))
        .collect();
    assert_eq!(
        seen,
        [
            "veth0: filter: the host's stack sees nothing of the container",
            "veth0: qdisc clsact",
            "veth0: port taken off docker0",
        ]
    );
    without_a_daemon(&it.host, &["doctor", "--clean"]);
    assert_eq!(it.footprint(), before);
    assert_eq!(it.links(doctor::inspect), []);
}

#[test]
fn the_programs_of_a_port_that_a_dead_daemon_took_are_seen_and_removed() {
    let it = Host::new();
    let before = it.footprint();
    let index = |ifname: &str| it.links(|links| links.state(ifname)).unwrap().index;
    for undo in [&["doctor", "--clean"], &["release", "docker0"]] {
        it.links(|links| links.take_over("veth0"));
        it.host.ip("tuntap add tap0 mode tap").unwrap();
        let offload = it.host.run(|| Offload::open(Room::default())).unwrap();
        let at = Interfaces {
            host: index("veth0"),
            tap: Some(index("tap0")),
        };
        it.host.run(|| offload.attach(at)).unwrap();
        // The TAP goes with its daemon.
        it.host.ip("link del tap0").unwrap();
        drop(offload);
        let found = without_a_daemon(&it.host, &["doctor"]);
        let command = "tc filter delete dev veth0 ingress protocol all pref 1 handle 0xc1ea bpf";
        assert!(found.contains(command), "{found}");
        without_a_daemon(&it.host, undo);
        assert_eq!(it.footprint(), before);
    }
}

#[test]
fn the_host_prefers_our_way_and_has_its_own_when_ours_is_gone() {
    let it = Host::new();
    let before = it.footprint();
    it.host.ip("tuntap add cw-host mode tap").unwrap();
    let gateways = [
        ("172.17.0.1", "172.17.0.0/16"),
        ("2001:db8:17::1", "2001:db8:17::/64"),
    ]
    .map(|(address, subnet)| Gateway {
        address: address.parse().unwrap(),
        subnet: subnet.parse().unwrap(),
    });
    let way = |to: &str| it.host.ip(&format!("route get {to}")).unwrap();
    it.links(|links| {
        let port = GatewayPort::open(links, "cw-host", Stack::Host, 1500)?;
        for gateway in gateways {
            let refused = port.add(links, gateway).unwrap_err().error;
            assert!(matches!(refused, Error::Overlaps { .. }), "{refused}");
            for _ in 0..2 {
                port.add_in_front_of(links, gateway, "docker0").unwrap();
            }
        }
        Ok(())
    });
    for to in ["172.17.0.2", "2001:db8:17::2"] {
        assert!(way(to).contains("dev cw-host"), "{}", way(to));
    }
    // Its owner gives the bridge its address anew, as dockerd does where it is missing.
    it.host.ip("address del 172.17.0.1/16 dev docker0").unwrap();
    it.host.ip("address add 172.17.0.1/16 dev docker0").unwrap();
    assert!(way("172.17.0.2").contains("dev cw-host"));
    without_a_daemon(&it.host, &["release", "docker0"]);
    assert!(way("172.17.0.2").contains("dev docker0"));
    it.links(|links| links.remove("cw-host"));
    assert_eq!(it.footprint(), before);
}

#[test]
fn refusals_say_what_is_in_the_way_and_change_nothing() {
    let it = Host::new();
    it.host.ip("link set veth0 alias precious").unwrap();
    let before = it.footprint();
    let refused = it.links(|links| Ok(links.take_over("veth0").unwrap_err()));
    assert!(refused.to_string().contains("precious"), "{refused}");
    assert_eq!(it.footprint(), before);
    let no_bridge = it.links(|links| Ok(links.bridge("veth0").unwrap_err()));
    assert!(matches!(no_bridge, Error::NotABridge { .. }), "{no_bridge}");
    assert_eq!(it.links(|links| links.bridge("docker7")), None);
}

#[test]
fn a_veth_without_a_bridge_is_hushed_and_heard_again() {
    let it = Host::new();
    it.host.ip("link set veth0 nomaster").unwrap();
    let is_answered = || {
        it.container.ip("neigh flush all").unwrap();
        it.reaches_gateway();
        let known = it.container.ip("neigh show 172.17.0.1").unwrap();
        known.contains("lladdr")
    };
    assert!(is_answered(), "the host does, for all its addresses");
    it.links(|links| links.take_over("veth0"));
    assert!(!is_answered());
    it.links(|links| links.give_back("veth0"));
    assert!(is_answered());
    assert_eq!(it.links(doctor::inspect), []);
}

#[test]
fn a_bridge_and_both_ends_of_a_veth_are_found() {
    let it = Host::new();
    let bridge = it.links(|links| links.bridge("docker0")).unwrap();
    assert_eq!((bridge.link.mtu, bridge.link.mac[5]), (1500, 1));
    let v4 = "172.17.0.1/16".parse().unwrap();
    assert!(bridge.addresses.contains(&v4));
    let inside = found(&it.container);
    let ends = with_links(&inside, |links| links.veth_with_mac(MAC)).unwrap();
    assert_eq!(ends.inside, "eth0");
    let outside = it.links(|links| links.name_of(ends.outside));
    assert_eq!(outside.as_deref(), Some("veth0"));
}
