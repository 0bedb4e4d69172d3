//! Either of the two ends, cleanly or not, and comes back: what becomes of containers, of their
//! connections, and of what nobody told the other.

use crate::line::Line;
use crate::talk::{Teller, ask_tcp, is_refused};
use crate::world::{COLLECTED, HOST, OUTSIDE, SOON, World, at};
use nix::sys::signal::Signal;
use testbed::docker::{Container, OnStop, Settings};
use testbed::wait_until;

const GOES_ON: Settings = Settings {
    firewall: testbed::docker::Firewall::Untouched,
    bridge: testbed::docker::Bridge::None,
    on_stop: OnStop::GoOn,
    proxy: testbed::docker::Proxy::Runs,
};

impl World {
    /// A connection from outside to `port`, that leads to port 80 of `container`, and one from the
    /// container to outside, of each IP version.
    fn lines(&self, container: &Container, port: u16) -> Vec<Line> {
        let ns = self.ns(container);
        let out = OUTSIDE.map(|ip| Line::open((&self.outside, 7000), &ns, at(ip, 7000)));
        let back = HOST.map(|ip| Line::open((&ns, 80), &self.outside, at(ip, port)));
        out.into_iter().chain(back).collect()
    }

    /// Waits until the daemon has written its connections down.
    fn remembered(&self) {
        let file = self.machine.dir().join("state/connections");
        let modified = || std::fs::metadata(&file).and_then(|of| of.modified()).ok();
        let before = modified();
        wait_until("connections written down", SOON, || modified() > before).unwrap();
    }

    /// Fails unless `container` is reached from outside at `port`, and reaches the world.
    fn works(&self, container: &Container, port: u16) {
        let ns = self.ns(container);
        let teller = Teller::start(&ns, 80);
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            wait_until(&format!("{host} port {port}"), SOON, || {
                ask_tcp(&self.outside, at(host, port)).is_ok_and(|seen| seen.ip() == outside)
            })
            .unwrap();
            self.reaches(container, &outside.to_string());
        }
        drop(teller);
    }
}

/// Nothing is replayed to a plugin that comes back: it has to know by itself.
#[test]
fn connections_outlive_a_daemon_that_is_killed() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    let shop = world.run("--network web --name shop -p 8081:80");
    let peer = world.run("--network web --name peer");
    let lines = world.lines(&shop, 8081);
    for _ in 0..2 {
        world.remembered();
        world.clearway.end(Signal::SIGKILL);
        world.clearway.start_again();
        for line in &lines {
            line.carries();
        }
        world.has_endpoints(2);
        world.reaches(&peer, "shop");
    }
    drop(lines);
    // And it goes on being a plugin: for those that were there, and for new ones.
    world.works(&shop, 8081);
    let late = world.run("--network web -p 8082:80");
    world.works(&late, 8082);
    world.docker("network disconnect web peer");
    world.docker("network connect web peer");
    world.reaches(&peer, "shop");
    for container in [shop, peer, late] {
        container.remove(&world.engine).unwrap();
    }
    world.has_endpoints(0);
    world.remove_network("web");
    assert_eq!(world.clearway.client().networks().unwrap(), []);
}

#[test]
fn a_clean_stop_of_the_daemon_leaves_containers_their_network() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    let shop = world.run("--network web --name shop -p 8081:80");
    world.works(&shop, 8081);
    world.clearway.end(Signal::SIGTERM);
    world.clearway.start_again();
    world.works(&shop, 8081);
    shop.remove(&world.engine).unwrap();
    world.has_endpoints(0);
}

/// What Docker asks meanwhile waits up to 15 seconds for the plugin.
#[test]
fn a_container_started_while_the_daemon_is_away_waits_for_it() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    world.docker("create --stop-signal KILL --network web --name late -p 8081:80 busybox:testbed");
    world.clearway.end(Signal::SIGKILL);
    let engine = &world.engine;
    let clearway = &mut world.clearway;
    std::thread::scope(|scope| {
        let start = scope.spawn(|| engine.docker("start late"));
        wait_until("dockerd misses its plugin", SOON, || {
            engine.log().contains("retrying")
        })
        .unwrap();
        clearway.start_again();
        start.join().unwrap().unwrap();
    });
    world.has_endpoints(1);
}

/// A container that was removed while the daemon was away: nobody will ever tell it.
#[test]
fn an_endpoint_whose_container_went_meanwhile_is_collected() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    let gone = world.run("--network web --name gone -p 8081:80");
    let stays = world.run("--network web --name stays -p 8082:80");
    let address = gone.ip(&world.engine, "web").unwrap();
    world.clearway.end(Signal::SIGKILL);
    // Docker asks three times for 15 seconds, and then forgets.
    gone.remove(&world.engine).unwrap();
    world.clearway.start_again();
    // Docker gave the interface back to the machine: a daemon that was killed before it had seen it
    // in the sandbox takes it for one that is still to be moved there.
    world.has_endpoints_within(COLLECTED, 1);
    is_refused(&world.outside, at(HOST[0], 8081));
    // Its address and its port are somebody else's now.
    let next = world.run("--network web --name next -p 8081:80");
    assert_eq!(next.ip(&world.engine, "web").unwrap(), address);
    world.works(&next, 8081);
    world.works(&stays, 8082);
    world.reaches(&stays, "next");
}

#[test]
fn an_engine_that_is_asked_to_stop_takes_its_endpoints_along() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    world.run("--network web --name once -p 8081:80");
    let shop = world.run("--network web --name shop --restart always -p 8082:80");
    world.engine.stop().unwrap();
    world.has_endpoints(0);
    for port in [8081, 8082] {
        is_refused(&world.outside, at(HOST[0], port));
    }
    world.engine.start_again().unwrap();
    world.has_endpoints(1);
    world.works(&shop, 8082);
    world.docker("start once");
    world.has_endpoints(2);
}

/// A killed engine forgets its containers' endpoints and hands their addresses out again.
#[test]
fn an_engine_that_was_killed_leaves_nothing_stale() {
    let Some(mut world) = World::start() else {
        return;
    };
    world.dual("web", 1);
    let first = world.run("--network web --name first -p 8081:80");
    let shop = world.run("--network web --name shop --restart always -p 8082:80");
    let address = first.ip(&world.engine, "web").unwrap();
    world.engine.kill().unwrap();
    world.engine.start_again().unwrap();
    // The one that is to run again does, with its port; the other's endpoint is gone.
    world.comes_up(&shop);
    world.works(&shop, 8082);
    world.has_endpoints(1);
    is_refused(&world.outside, at(HOST[0], 8081));
    // An address that was handed out again is its new holder's.
    let others: Vec<_> = (0..2)
        .map(|n| world.run(&format!("--network web --name next{n}")))
        .collect();
    let holders = others.iter().chain([&shop]);
    let reused = holders
        .filter(|c| c.ip(&world.engine, "web").unwrap() == address)
        .count();
    assert_eq!(reused, 1, "{address} is in use again");
    for other in &others {
        world.reaches(other, "shop");
        world.reaches(other, &OUTSIDE[0].to_string());
    }
    world.docker("start first");
    world.works(&first, 8081);
    world.has_endpoints(4);
}

/// With `--live-restore` an engine comes and goes above containers that run.
#[test]
fn containers_run_on_without_their_engine() {
    let Some(mut world) = World::start_with(GOES_ON) else {
        return;
    };
    world.dual("web", 1);
    let shop = world.run("--network web --name shop -p 8081:80");
    let peer = world.run("--network web --name peer");
    let lines = world.lines(&shop, 8081);
    for is_clean in [true, false] {
        if is_clean {
            world.engine.stop().unwrap();
        } else {
            world.engine.kill().unwrap();
        }
        for line in &lines {
            line.carries();
        }
        world.engine.start_again().unwrap();
        for line in &lines {
            line.carries();
        }
        world.has_endpoints(2);
        world.reaches(&peer, "shop");
    }
    drop(lines);
    world.works(&shop, 8081);
    for container in [shop, peer] {
        container.remove(&world.engine).unwrap();
    }
    world.has_endpoints(0);
    is_refused(&world.outside, at(HOST[0], 8081));
}

/// The daemon restarts while the engine is away, above containers that run on.
#[test]
fn both_are_away_at_once() {
    let Some(mut world) = World::start_with(GOES_ON) else {
        return;
    };
    world.dual("web", 1);
    let shop = world.run("--network web --name shop -p 8081:80");
    let lines = world.lines(&shop, 8081);
    world.remembered();
    world.engine.kill().unwrap();
    world.clearway.end(Signal::SIGKILL);
    world.clearway.start_again();
    for line in &lines {
        line.carries();
    }
    world.engine.start_again().unwrap();
    for line in &lines {
        line.carries();
    }
    drop(lines);
    world.works(&shop, 8081);
    world.has_endpoints(1);
}

/// An address that changes hands quickly is found at its new holder's at once.
#[test]
fn a_reused_address_is_found_at_its_new_holder() {
    let Some(world) = World::start() else { return };
    world.dual("web", 1);
    let peer = world.run("--network web --name peer");
    let mut addresses = Vec::new();
    for _ in 0..5 {
        let holder = world.run("--network web --name holder -p 8081:80");
        addresses.push(holder.ip(&world.engine, "web").unwrap());
        // At the first try: nobody's table leads to the one before.
        world.sh(&peer, "ping -c 1 -W 2 holder");
        let _teller = Teller::start(&world.ns(&holder), 80);
        let seen = ask_tcp(&world.outside, at(HOST[0], 8081)).unwrap();
        assert_eq!(seen.ip(), OUTSIDE[0]);
        holder.remove(&world.engine).unwrap();
    }
    addresses.dedup();
    assert_eq!(
        addresses.len(),
        1,
        "one address in five hands: {addresses:?}"
    );
}
