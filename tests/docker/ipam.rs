//! `--ipam-driver clearway`: subnets that overlap, and more networks than Docker's own has pools.

use crate::talk::{Teller, ask_tcp};
use crate::world::{HOST, OUTSIDE, World, at};

impl World {
    #[track_caller]
    fn own(&self, name: &str, options: &str) {
        self.network(name, &format!("--ipam-driver clearway {options}"));
    }
}

#[test]
fn it_hands_out_what_was_asked_for_and_what_is_free() {
    let Some(world) = World::start() else { return };
    world.own(
        "web",
        "--subnet 10.1.0.0/24 --ip-range 10.1.0.128/25 --gateway 10.1.0.1 \
         --aux-address printer=10.1.0.129",
    );
    let fixed = world.run("--network web --name fixed --ip 10.1.0.77");
    let ip = |container: &_| -> String {
        testbed::docker::Container::ip(container, &world.engine, "web")
            .unwrap()
            .to_string()
    };
    assert_eq!(ip(&fixed), "10.1.0.77");
    let given = [(); 3].map(|()| world.run("--network web")).map(|c| ip(&c));
    for given in &given {
        let last: u8 = given.rsplit('.').next().unwrap().parse().unwrap();
        assert!(last >= 128 && last != 129, "{given}");
    }
    let refused = world
        .engine
        .run("--network web --ip 10.1.0.77")
        .unwrap_err();
    assert!(refused.to_string().contains("10.1.0.77"), "{refused}");
    for given in given {
        world.reaches(&fixed, &given);
    }
    world.reaches(&fixed, &OUTSIDE[0].to_string());
}

#[test]
fn two_tenants_have_the_same_subnet() {
    let Some(world) = World::start() else { return };
    let tenants = ["blue", "red"];
    for tenant in tenants {
        world.own(
            tenant,
            &format!("--subnet 10.1.0.0/24 --internal --ipam-opt pool={tenant}"),
        );
    }
    let pairs = tenants.map(|tenant| {
        [1, 2].map(|n| {
            let address = format!("--ip 10.1.0.{}", 10 + n);
            world.run(&format!("--network {tenant} --name {tenant}{n} {address}"))
        })
    });
    for [one, two] in &pairs {
        world.reaches(one, "10.1.0.12");
        world.reaches(two, "10.1.0.11");
    }
    // Each with its own: when one goes, the other's is still there.
    let [[one, two], [red, _]] = pairs;
    two.remove(&world.engine).unwrap();
    world.does_not_reach(&one, "10.1.0.12");
    world.reaches(&red, "10.1.0.12");
}

#[test]
fn there_are_more_networks_than_thirty_one() {
    let Some(world) = World::start() else { return };
    let count = 40;
    for n in 0..count {
        world.own(&format!("n{n}"), "");
    }
    let mut subnets: Vec<_> = (0..count)
        .map(|n| {
            let template = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
            let name = format!("n{n}");
            let words = ["network", "inspect", "--format", template, &name];
            world.engine.docker_words(&words).unwrap()
        })
        .collect();
    subnets.sort_unstable();
    let all = subnets.len();
    subnets.dedup();
    assert_eq!(subnets.len(), all, "each has its own");
    let last = world.run("--network n39 -p 8081:80");
    let _teller = Teller::start(&world.ns(&last), 80);
    let seen = ask_tcp(&world.outside, at(HOST[0], 8081)).unwrap();
    assert_eq!(seen.ip(), OUTSIDE[0]);
    world.reaches(&last, &OUTSIDE[0].to_string());
    world.has_no_bridge();
}

/// Pools, gateways and addresses are given back, and those of a killed daemon are remembered.
#[test]
fn what_is_given_back_is_given_out_again() {
    let Some(mut world) = World::start() else {
        return;
    };
    for _ in 0..3 {
        world.own("web", "--subnet 10.1.0.0/29");
        let all: Vec<_> = (0..5).map(|_| world.run("--network web")).collect();
        let refused = world.run_refused("--network web");
        assert!(refused.contains("10.1.0.0/29"), "{refused}");
        for container in all {
            container.remove(&world.engine).unwrap();
        }
        let left = world.docker("ps --all --quiet");
        for id in left.lines() {
            world.docker(&format!("rm {id}"));
        }
        world.remove_network("web");
    }
    world.own("web", "--subnet 10.1.0.0/29");
    let before = world.run("--network web").ip(&world.engine, "web").unwrap();
    world.clearway.end(nix::sys::signal::Signal::SIGKILL);
    world.clearway.start_again();
    let after = world.run("--network web").ip(&world.engine, "web").unwrap();
    assert_ne!(before, after, "what is in use is not given out again");
}
