//! The program of leases at an uplink's NIC: what has no lease passes it as if it were not there.

use super::footprint::{footprint, is_as_before, let_others_in};
use super::talk::{Teller, ask_tcp, ask_udp};
use super::{HOST, Outside, WORLD, at};
use crate::fixture::{Clearway, Container};
use api::{Datapath, Name};
use nix::sys::signal::Signal;
use testbed::Namespace;
use testbed::traffic::{Ping, ping, tcp_exact};

/// A daemon whose setting is this datapath, with an uplink. Its containers are carried in userspace: nothing but
/// the uplink is in the host's namespace.
fn outside(datapath: &str) -> Outside {
    Outside::around(Clearway::start_with(&format!("datapath = \"{datapath}\"")))
}

fn web(clearway: &Clearway) -> Name {
    clearway.network_with("web", 1, |network| {
        network.routing.datapath = Datapath::Userspace;
    })
}

/// The commands that remove the programs at the NIC.
fn programs(clearway: &Clearway) -> Vec<String> {
    let of_program = |undo: &String| undo.ends_with("handle 0xc1ea bpf");
    let found = clearway.doctor().into_iter().map(|it| it.undo);
    found.filter(of_program).collect()
}

const PROGRAM: [&str; 1] =
    ["tc filter delete dev eth0 ingress protocol all pref 6 handle 0xc1ea bpf"];

/// The number of the program there.
fn number(host: &Namespace) -> Option<String> {
    let shown = tc(host, "filter show dev eth0 ingress prio 6");
    let mut words = shown.split_whitespace().skip_while(|word| *word != "id");
    words.nth(1).map(str::to_owned)
}

/// Filters of others before and behind ours, by their priorities, which count datagrams.
const OTHERS: [u16; 2] = [3, 100];

fn tc(host: &Namespace, words: &str) -> String {
    let words: Vec<_> = words.split_whitespace().collect();
    host.output("tc", &words).unwrap()
}

fn let_others_count(host: &Namespace) {
    // What is sent there goes nowhere.
    host.ip("link add away type veth peer name beyond").unwrap();
    host.ip("link set away up").unwrap();
    tc(host, "qdisc add dev eth0 clsact");
    for priority in OTHERS {
        tc(
            host,
            &format!(
                "filter add dev eth0 ingress prio {priority} protocol ip u32 match ip protocol 17 0xff \
                 action mirred egress mirror dev away continue"
            ),
        );
    }
}

fn counted(host: &Namespace) -> [u64; 2] {
    OTHERS.map(|priority| {
        let words = format!("-s filter show dev eth0 ingress prio {priority} protocol ip");
        let shown = tc(host, &words);
        let line = shown.lines().find(|line| line.contains("Sent ")).unwrap();
        line.split_whitespace().nth(3).unwrap().parse().unwrap()
    })
}

/// One datagram arrives for each of four: two for a container, which the uplink takes, and two for the host.
fn talk(outside: &Outside, shop: &Container) {
    let (host, world) = (outside.host(), &outside.world);
    let _tellers = [
        Teller::start(&shop.ns, 80),
        Teller::start(host, 81),
        Teller::start(world, 82),
    ];
    for ask in [ask_udp, ask_tcp] {
        let as_whom = ask(&shop.ns, at(WORLD[0], 82)).unwrap();
        assert_eq!(as_whom.ip(), HOST[0]);
        assert_eq!(ask(world, at(HOST[0], 8080)).unwrap().ip(), WORLD[0]);
        assert_eq!(ask(world, at(HOST[0], 81)).unwrap().ip(), WORLD[0]);
        assert_eq!(ask(host, at(WORLD[0], 82)).unwrap().ip(), HOST[0]);
    }
    for (mine, theirs) in HOST.into_iter().zip(WORLD) {
        tcp_exact(host, world, mine, 4 << 20).unwrap();
        tcp_exact(world, host, theirs, 4 << 20).unwrap();
        tcp_exact(world, &shop.ns, theirs, 4 << 20).unwrap();
        assert!(ping(world, &Ping::new(mine)).unwrap().is_complete());
        assert!(shop.ping(theirs, 3).is_complete());
    }
}

#[test]
fn all_pass_the_program_and_filters_of_others_see_what_they_saw_without_it() {
    for (datapath, program) in [("userspace", &PROGRAM[..0]), ("kernel", &PROGRAM)] {
        let outside = outside(datapath);
        let_others_count(outside.host());
        outside.uplink();
        let web = web(&outside.clearway);
        let shop = outside.container(&web, "shop");
        for world in WORLD {
            shop.reaches(world);
        }
        outside.publish("8080:shop:80/udp");
        outside.publish("8080:shop:80/tcp");
        assert_eq!(programs(&outside.clearway), program);
        let before = counted(outside.host());
        talk(&outside, &shop);
        let after = counted(outside.host());
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            [4, 2],
            "{datapath}"
        );
        let warnings = outside.clearway.client().status().unwrap().warnings;
        assert_eq!(warnings, Vec::<String>::new());
    }
}

#[test]
fn the_program_outlives_a_crash_and_goes_with_a_clean_stop_or_by_doctor() {
    let mut outside = outside("kernel");
    let_others_in(outside.host());
    let before = footprint(outside.host());
    outside.uplink();
    let web = web(&outside.clearway);
    let shop = outside.container(&web, "shop");
    shop.reaches(WORLD[0]);
    let first = number(outside.host());
    assert!(first.is_some() && programs(&outside.clearway) == PROGRAM);

    outside.clearway.end(Signal::SIGKILL);
    assert!(programs(&outside.clearway) == PROGRAM && number(outside.host()) == first);
    outside.clearway.restart();
    shop.reaches(WORLD[0]);
    assert!(programs(&outside.clearway) == PROGRAM && number(outside.host()) != first);

    outside.clearway.end(Signal::SIGKILL);
    outside.clearway.on_host(&["doctor", "--clean"]);
    is_as_before(outside.host(), &before);

    outside.clearway.restart();
    shop.reaches(WORLD[0]);
    assert_eq!(programs(&outside.clearway), PROGRAM);
    outside.clearway.end(Signal::SIGTERM);
    is_as_before(outside.host(), &before);
}

#[test]
fn a_daemon_in_userspace_loads_no_program() {
    let outside = outside("userspace");
    outside.uplink();
    let web = web(&outside.clearway);
    let shop = outside.container(&web, "shop");
    shop.reaches(WORLD[0]);
    let client = outside.clearway.client();
    client.uplink_remove(&"eth0".parse().unwrap()).unwrap();
    let held = std::fs::read_dir(format!("/proc/{}/fd", outside.clearway.daemon.id())).unwrap();
    let held = held.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
    let programs = held.filter(|it| it.to_string_lossy().contains("bpf"));
    assert_eq!(programs.count(), 0);
}
