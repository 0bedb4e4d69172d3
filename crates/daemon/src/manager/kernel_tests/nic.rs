//! The program of leases at the NIC of an uplink.

use super::datapath::{index, ip};
use super::*;
use api::{UplinkAdd, UplinkState};
use offload::Interfaces;
use std::process::Command;

const NIC: &str = "eth9";

/// A daemon whose setting is this datapath, where its NIC is.
fn start_by(datapath: Datapath, dir: &Path) -> Writer {
    let config = Config {
        datapath,
        ..config(dir)
    };
    Writer::start(&config, FileStore::open(dir).unwrap()).unwrap()
}

/// A namespace at the other end of the wire of a NIC. The test's thread stays in a namespace of its own.
fn wire() -> Namespace {
    ALONE.with(|_| ());
    let world = Namespace::new().unwrap();
    let there = world.path();
    ip(&format!(
        "link add {NIC} type veth peer name eth0 netns {}",
        there.display()
    ));
    ip(&format!("link set {NIC} up"));
    world
}

fn tc(words: &str) -> String {
    let output = Command::new("tc").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "tc {words}");
    String::from_utf8(output.stdout).unwrap()
}

/// The programs that any daemon has there.
fn programs(ifname: &str) -> usize {
    let commands = offload::removing_commands(index(ifname), ifname);
    commands.unwrap().len()
}

/// Whether the daemon's own program is at the NIC.
fn is_attached(core: &Writer) -> bool {
    let offload = core.kernel.get().unwrap();
    offload.is_attached(Interfaces::nic(index(NIC))).unwrap()
}

fn add_uplink(core: &mut Writer) {
    let uplink = core.uplink_add(&UplinkAdd::new(NIC)).unwrap();
    assert_eq!((uplink.state, uplink.why), (UplinkState::Up, None));
}

fn follows_until(core: &mut Writer, what: &str, mut is_so: impl FnMut(&mut Writer) -> bool) {
    wait_until(what, PATIENCE, || {
        core.follow_host();
        is_so(core)
    })
    .unwrap();
}

#[test]
fn the_program_is_there_while_the_uplink_is_open() {
    let (dir, _world) = (tempfile::tempdir().unwrap(), wire());
    let mut core = start_by(Datapath::Kernel, dir.path());
    add_uplink(&mut core);
    assert!(is_attached(&core));
    core.follow_host();
    assert!(offload::remove_leftover(index(NIC)).unwrap());
    follows_until(&mut core, "the program is back", |core| is_attached(core));
    core.uplink_remove(&NIC.parse().unwrap()).unwrap();
    assert_eq!(programs(NIC), 0);
    assert!(!tc("qdisc show").contains("clsact"));
    assert_eq!(core.show().status().warnings, Vec::<String>::new());
    ip(&format!("link del {NIC}"));
}

#[test]
fn the_next_daemon_takes_the_program_over_or_away() {
    let (dir, _world) = (tempfile::tempdir().unwrap(), wire());
    let mut core = start_by(Datapath::Kernel, dir.path());
    add_uplink(&mut core);
    drop(core);
    assert_eq!(programs(NIC), 1, "nobody took it away");
    let core = start_by(Datapath::Kernel, dir.path());
    assert!(is_attached(&core) && programs(NIC) == 1);
    drop(core);
    let mut core = start_by(Datapath::Userspace, dir.path());
    assert_eq!(programs(NIC), 0);
    assert_eq!(core.show().uplinks()[0].state, UplinkState::Up);
    core.stop();
    drop(core);
    let mut core = start_by(Datapath::Kernel, dir.path());
    assert!(is_attached(&core));
    core.stop();
    assert_eq!(programs(NIC), 0);
    assert!(!tc("qdisc show").contains("clsact"));
    ip(&format!("link del {NIC}"));
}

#[test]
fn a_nic_that_is_renamed_or_gone_takes_its_program_along() {
    let (dir, world) = (tempfile::tempdir().unwrap(), wire());
    let mut core = start_by(Datapath::Kernel, dir.path());
    add_uplink(&mut core);
    core.follow_host();
    for (words, other) in [
        (
            &[
                "link set eth9 down",
                "link set eth9 name eth8",
                "link set eth8 up",
            ][..],
            Some("eth8"),
        ),
        (&["link del eth9"], None),
    ] {
        words.iter().for_each(|words| drop(ip(words)));
        follows_until(&mut core, "the uplink is down", |core| {
            core.show().uplinks()[0].state == UplinkState::Down
        });
        if let Some(other) = other {
            assert_eq!(programs(other), 0);
            ip("link set eth8 down");
            ip("link set eth8 name eth9");
            ip("link set eth9 up");
            follows_until(&mut core, "the program at the NIC", |core| {
                core.show().uplinks()[0].state == UplinkState::Up && is_attached(core)
            });
        }
    }
    let down = "uplink eth9 is down: there is no interface eth9";
    assert_eq!(core.show().status().warnings, [down, down]);
    drop(world);
}

/// Two kinds of filters cannot have one priority.
#[test]
fn where_the_program_has_no_place_the_uplink_works_without() {
    let (dir, _world) = (tempfile::tempdir().unwrap(), wire());
    tc(&format!("qdisc add dev {NIC} clsact"));
    tc(&format!(
        "filter add dev {NIC} ingress prio 6 protocol ip u32 match ip dport 9 0xffff \
         action mirred egress mirror dev lo"
    ));
    let others = tc(&format!("filter show dev {NIC} ingress"));
    let mut core = start_by(Datapath::Kernel, dir.path());
    add_uplink(&mut core);
    core.follow_host();
    core.arrange().unwrap();
    assert_eq!(programs(NIC), 0);
    let warnings = core.show().status().warnings;
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    let told = "uplink eth9: the kernel repeats nothing of what arrives there: ";
    assert!(warning.starts_with(told), "{warning}");
    core.stop();
    assert_eq!(tc(&format!("filter show dev {NIC} ingress")), others);
    ip(&format!("link del {NIC}"));
}
