//! What the daemon has of the host's network, end to end: `doctor` names it, a clean stop takes it
//! away, and after a crash `doctor --clean` does, without a daemon. Containers are carried in userspace: what
//! stands in the host's namespace for one of the kernel's datapath, `datapath.rs` knows.

use super::Outside;
use super::talk::{Teller, ask_udp};
use super::{HOST, WORLD, at};
use crate::binary::binary;
use crate::fixture::{Clearway, SOON};
use api::{Cleaned, Finding};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use testbed::{Namespace, wait_until};

/// All that `ns` shows of its network's configuration.
pub(super) fn footprint(ns: &Namespace) -> String {
    let settings = |text: &str| {
        // Counts of what passes are no settings.
        let stay = |line: &&str| !line.contains("nf_conntrack_count");
        text.lines().filter(stay).collect::<Vec<_>>().join("\n")
    };
    let show = |words: &str| {
        let words: Vec<_> = words.split_whitespace().collect();
        let text = ns.output(words[0], &words[1..]).unwrap();
        format!("$ {}\n{text}", words.join(" "))
    };
    let all: Vec<String> = [
        "tc qdisc show",
        "tc filter show dev eth0 ingress",
        "tc filter show dev eth0 egress",
        "ip -o -details link show",
        "ip -o address show",
        "ip rule show",
        "ip -6 rule show",
        "ip route show table all",
        "ip -6 route show table all",
        "nft list ruleset",
    ]
    .map(show)
    .into();
    let sysctls = ns.output("sysctl", &["-a", "-e", "-r", "^net[.]"]).unwrap();
    // Whether the kernel has noticed that a TAP was taken up a second time is no setting either, nor
    // is the number that it gives to a filter's action when a filter is replaced in place.
    let links = all.concat().replace("state UNKNOWN", "state UP");
    let links: String = links
        .lines()
        .map(|line| without_index(line) + "\n")
        .collect();
    [links, settings(&sysctls)].concat()
}

/// A line of an action, `index 3 ref 1 bind 1`, without its number.
fn without_index(line: &str) -> String {
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    match line.trim_start().split_once(' ') {
        Some(("index", rest)) => match rest.split_once(' ') {
            Some((number, rest)) if is_number(number) => format!("index {rest}"),
            _ => line.to_owned(),
        },
        _ => line.to_owned(),
    }
}

/// Fails with what differs, unless nothing does, or soon does not: the kernel tidies up behind.
pub(super) fn is_as_before(ns: &Namespace, before: &str) {
    let is_so = wait_until("a host as before", SOON, || footprint(ns) == before);
    if let Err(error) = is_so {
        let now = footprint(ns);
        let first = before.lines().zip(now.lines()).find(|(was, is)| was != is);
        let only = |of: &str, other: &str| {
            let lines = of.lines().filter(|line| !other.lines().any(|o| o == *line));
            lines
                .map(|line| format!("    {line}\n"))
                .collect::<String>()
        };
        let (gone, new) = (only(before, &now), only(&now, before));
        panic!("{error}; first differs {first:?}\nonly before:\n{gone}only now:\n{new}");
    }
}

/// What others have put there, of the kinds of things that we put there.
pub(super) fn let_others_in(host: &Namespace) {
    for line in [
        "sysctl -qw net.ipv4.ip_local_reserved_ports=8080,50000-50010",
        "tc qdisc add dev eth0 clsact",
        "tc filter add dev eth0 ingress prio 100 protocol ip u32 match ip dport 9 0xffff \
            action mirred egress mirror dev lo",
        "ip rule add fwmark 7 table 77",
        "ip route add 198.51.100.200 dev eth0 table 77",
        "nft add table inet theirs",
    ] {
        let words: Vec<_> = line.split_whitespace().collect();
        host.output(words[0], &words[1..]).unwrap();
    }
}

/// Has the daemon use all of the host's network that it ever does.
fn use_all(outside: &Outside) {
    outside.uplink();
    let (web, _) = outside.web();
    let shop = outside.container(&web, "shop");
    let _teller = Teller::start(&shop.ns, 80);
    outside.publish("8080:shop:80/udp");
    ask_udp(&outside.world, at(HOST[0], 8080)).unwrap();
}

impl Clearway {
    /// `clearway` as somebody on the host runs it: what needs no daemon looks at the namespace
    /// that it is in.
    pub(super) fn on_host(&self, words: &[&str]) -> String {
        let socket = self.socket();
        let words = [&["--socket", socket.to_str().unwrap()], words].concat();
        let binary = binary().to_str().unwrap();
        self.host.output(binary, &words).unwrap()
    }

    pub(super) fn doctor(&self) -> Vec<Finding> {
        serde_json::from_str(&self.on_host(&["doctor", "-o", "json"])).unwrap()
    }

    pub(super) fn end(&mut self, signal: Signal) {
        self.daemon.signal(signal).unwrap();
        self.daemon.wait_within(SOON).unwrap();
    }
}

const NOTHING: &str = "nothing of ours is in the host's network, and all is as it should be\n";

#[test]
fn a_daemon_that_is_asked_for_nothing_has_nothing() {
    let outside = Outside::in_userspace();
    let before = footprint(outside.host());
    let clearway = &outside.clearway;
    assert_eq!(clearway.on_host(&["doctor"]), NOTHING);
    // Containers alone need nothing of the host's.
    let lab = clearway.network_with("lab", 1, |network| network.routing.host_access = false);
    let pair = [(); 2].map(|()| clearway.container(&lab));
    pair[0].reaches(pair[1].ip(0));
    assert_eq!(clearway.on_host(&["doctor"]), NOTHING);
    is_as_before(outside.host(), &before);
}

#[test]
fn doctor_names_all_that_is_in_use_and_nothing_else() {
    let outside = Outside::in_userspace();
    use_all(&outside);
    let host = outside.host();
    let ours = |mark: &str| {
        let links = host.ip("-o link show").unwrap();
        let line = links.lines().find(|line| line.contains(mark)).unwrap();
        line.split([':', ' ']).nth(2).unwrap().to_owned()
    };
    let up = ours("alias clearway uplink of eth0");
    let port = ours("alias clearway host port");
    let links = host
        .ip(&format!("-6 -o address show dev {port} scope link"))
        .unwrap();
    let link_local = links.split_whitespace().nth(3).unwrap();

    let filter = "tc filter delete dev";
    let what = "protocol all pref 7 handle";
    let want: BTreeSet<[String; 3]> = [
        [
            "eth0",
            "filter: packets for both go to the uplink's TAP too",
            &format!("{filter} eth0 ingress {what} 0xc1ea0002 bpf"),
        ],
        [
            "eth0",
            "filter: packets for containers go to the uplink's TAP",
            &format!("{filter} eth0 ingress {what} 0xc1ea0001 bpf"),
        ],
        ["eth0", "qdisc clsact", "tc qdisc delete dev eth0 clsact"],
        [
            &up,
            "filter: everything goes out by the uplink's NIC",
            &format!("{filter} {up} ingress {what} 0xc1ea0003 bpf"),
        ],
        [
            &up,
            "qdisc clsact",
            &format!("tc qdisc delete dev {up} clsact"),
        ],
        [
            "net.ipv4.ip_local_reserved_ports",
            "reserved ports 49152-65535",
            "sysctl -w net.ipv4.ip_local_reserved_ports=",
        ],
        [
            &up,
            "interface: clearway uplink of eth0, reserved ports 49152-65535",
            &format!("ip link delete {up}"),
        ],
        [
            &port,
            "interface: clearway host port",
            &format!("ip link delete {port}"),
        ],
    ]
    .map(|row| row.map(str::to_owned))
    .into_iter()
    .chain(
        ["10.1.0.1/32", "2001:db8:1::1/128", link_local].map(|address| {
            [
                port.clone(),
                format!("address {address}"),
                format!("ip address delete {address} dev {port}"),
            ]
        }),
    )
    .chain(
        [
            "10.1.0.0/16",
            "2001:db8:1::/64",
            "2001:db8:1::1/128",
            "fe80::/64",
        ]
        .map(|net| {
            [
                port.clone(),
                format!("route {net} dev {port}"),
                format!("ip route delete {net} dev {port}"),
            ]
        }),
    )
    .collect();
    let found = outside.clearway.doctor();
    let told = found
        .iter()
        .map(|f| [f.r#where.clone(), f.what.clone(), f.undo.clone()]);
    assert_eq!(told.collect::<BTreeSet<_>>(), want);
    assert_eq!(found.len(), want.len());
    // The same for people.
    let table = outside.clearway.on_host(&["doctor"]);
    for row in want {
        let is_there = table
            .lines()
            .any(|line| row.iter().all(|field| line.contains(field)));
        assert!(is_there, "{row:?} in\n{table}");
    }
}

#[test]
fn a_clean_stop_leaves_nothing() {
    for others in [false, true] {
        let mut outside = Outside::in_userspace();
        if others {
            let_others_in(outside.host());
        }
        let before = footprint(outside.host());
        use_all(&outside);
        assert_ne!(footprint(outside.host()), before);
        outside.clearway.end(Signal::SIGTERM);
        is_as_before(outside.host(), &before);
        assert_eq!(outside.clearway.on_host(&["doctor"]), NOTHING);
    }
}

#[test]
fn after_a_crash_doctor_cleans_up_without_a_daemon() {
    for others in [false, true] {
        let mut outside = Outside::in_userspace();
        if others {
            let_others_in(outside.host());
        }
        let before = footprint(outside.host());
        use_all(&outside);
        let in_use = outside.clearway.doctor();
        // What is in use is not put right: it is right.
        let cleaned = outside.clearway.on_host(&["doctor", "--clean"]);
        assert_eq!(cleaned, NOTHING);
        assert_eq!(outside.clearway.doctor(), in_use);

        outside.clearway.end(Signal::SIGKILL);
        assert_eq!(outside.clearway.doctor(), in_use);
        let cleaned = outside
            .clearway
            .on_host(&["doctor", "--clean", "-o", "json"]);
        let cleaned: Vec<Cleaned> = serde_json::from_str(&cleaned).unwrap();
        let of: Vec<Finding> = cleaned.iter().map(|c| c.finding.clone()).collect();
        assert_eq!(of, in_use);
        assert!(cleaned.iter().all(|c| c.failed.is_none()), "{cleaned:?}");
        is_as_before(outside.host(), &before);
        assert_eq!(outside.clearway.on_host(&["doctor"]), NOTHING);
    }
}

#[test]
fn the_commands_that_doctor_names_undo_it_all() {
    let mut outside = Outside::in_userspace();
    let_others_in(outside.host());
    let before = footprint(outside.host());
    use_all(&outside);
    outside.clearway.end(Signal::SIGKILL);
    for finding in outside.clearway.doctor() {
        let words: Vec<_> = finding.undo.split_whitespace().collect();
        outside.host().output(words[0], &words[1..]).unwrap();
    }
    is_as_before(outside.host(), &before);
    assert_eq!(outside.clearway.on_host(&["doctor"]), NOTHING);
}

#[test]
fn what_a_crash_left_is_taken_up_and_then_left_clean() {
    let mut outside = Outside::in_userspace();
    let before = footprint(outside.host());
    use_all(&outside);
    let in_use = outside.clearway.doctor();
    outside.clearway.end(Signal::SIGKILL);
    outside.clearway.restart();
    wait_until("what was in use", SOON, || {
        outside.clearway.doctor() == in_use
    })
    .unwrap();
    let again = outside.clearway.container(&crate::fixture::name("web"));
    again.reaches(WORLD[0]);
    outside.clearway.end(Signal::SIGTERM);
    is_as_before(outside.host(), &before);
}
