//! Many at once: a hundred containers, started ten at a time, and one with 206 published ports.

use crate::talk::{Teller, ask_tcp, ask_udp, is_refused};
use crate::world::{HOST, OUTSIDE, SOON, World, at};
use std::collections::BTreeSet;
use std::time::Instant;
use testbed::docker::Container;
use testbed::traffic::{Ping, ping};
use testbed::wait_until;

const CONTAINERS: usize = 100;
const AT_ONCE: usize = 10;
/// Kilobytes of memory that the daemon may occupy, containers or not.
const MEMORY: u32 = 100 * 1024;

impl World {
    /// Starts `count` containers, a number of them at a time.
    fn run_many(&self, count: usize, options: impl Fn(usize) -> String + Sync) -> Vec<Container> {
        std::thread::scope(|scope| {
            let options = &options;
            let threads: Vec<_> = (0..AT_ONCE)
                .map(|first| {
                    let numbers = (first..count).step_by(AT_ONCE);
                    scope.spawn(move || numbers.map(|n| self.run(&options(n))).collect::<Vec<_>>())
                })
                .collect();
            let all = threads.into_iter().flat_map(|t| t.join().unwrap());
            all.collect()
        })
    }
}

#[test]
fn a_hundred_containers_come_talk_and_go() {
    let Some(world) = World::start() else { return };
    let links = world.links();
    world.dual("web", 1);
    // What the daemon opens once and keeps is there after the first.
    world.run("--network web").remove(&world.engine).unwrap();
    world.has_endpoints(0);
    let before = world.clearway.descriptors().len();
    let start = Instant::now();
    let all = world.run_many(CONTAINERS, |n| format!("--network web --name c{n}"));
    let took = start.elapsed();
    let memory = world.clearway.resident_kib();
    eprintln!("{CONTAINERS} containers in {took:.1?}; the daemon has {memory} KiB");
    world.has_endpoints(CONTAINERS);
    assert!(memory < MEMORY, "{memory} KiB");

    let endpoints = world.clearway.client().endpoints().unwrap();
    let addresses: BTreeSet<_> = endpoints.iter().flat_map(|e| e.addresses.clone()).collect();
    assert_eq!(addresses.len(), 2 * CONTAINERS, "each has its own two");
    // One reaches all of them, and each of them the world.
    let one = world.ns(&all[0]);
    for address in addresses {
        let report = ping(&one, &Ping::new(address.addr())).unwrap();
        assert!(report.is_complete(), "{address}: {report:?}");
    }
    for container in all.iter().step_by(9) {
        let ns = world.ns(container);
        for outside in OUTSIDE {
            assert!(ping(&ns, &Ping::new(outside)).unwrap().is_complete());
        }
    }
    world.sh(&all[99], "ping -c 1 -W 2 c0");
    drop(one);

    // As many at a time as were started: of a hundred at once Docker 20.10 loses count, and keeps the network
    // although its driver has deleted each endpoint.
    let ids: Vec<_> = all.iter().map(Container::id).collect();
    for ids in ids.chunks(AT_ONCE) {
        world.docker(&format!("rm --force {}", ids.join(" ")));
    }
    world.has_endpoints(0);
    world.remove_network("web");
    assert_eq!(world.links(), links);
    let descriptors = || world.clearway.descriptors();
    // Its connections to Docker come and go.
    wait_until("no more descriptors than before", SOON, || {
        descriptors().len() <= before
    })
    .unwrap_or_else(|error| panic!("{error}: {before} became {:?}", descriptors()));
}

#[test]
fn one_container_publishes_206_ports() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let shop = world.run(
        "--network web --name shop -p 20000-20099:1000-1099 -p 20100-20199:1000-1099/udp \
         -p 8081:80 -p 8082:80 -p 8083:80/udp -p 443:443 -p 8084:80 -p 8085:80/tcp",
    );
    let count: u32 = {
        let all = world.clearway.client().publications().unwrap();
        all.iter().map(|p| p.spec.ports.count()).sum()
    };
    assert_eq!(count, 206);
    let ns = world.ns(&shop);
    for (inner, tcp, udp) in [
        (1000, 20_000, 20_100),
        (1057, 20_057, 20_157),
        (1099, 20_099, 20_199),
    ] {
        let _teller = Teller::start(&ns, inner);
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            let seen = ask_tcp(&world.outside, at(host, tcp)).unwrap();
            assert_eq!(seen.ip(), outside, "{tcp}");
            let seen = ask_udp(&world.outside, at(host, udp)).unwrap();
            assert_eq!(seen.ip(), outside, "{udp}");
        }
    }
    // Docker tells a driver no names: they are asked for, and come when they come.
    wait_until("the container's name", SOON, || {
        world.clearway.told("ports").contains("shop")
    })
    .unwrap();
    let table = world.clearway.told("ports");
    for part in ["20000", "8085", "443"] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
    drop(ns);
    shop.remove(&world.engine).unwrap();
    assert_eq!(world.clearway.client().publications().unwrap(), []);
    for port in [20_000, 20_099, 8081, 443] {
        is_refused(&world.outside, at(HOST[0], port));
    }
}
