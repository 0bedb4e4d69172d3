//! Docker's managed plugin, as `cargo xtask plugin` makes it: a daemon that dockerd itself runs, in a
//! container of its own, with the same traffic as any other.

use crate::binary::binary;
use crate::line::Line;
use crate::talk::{Teller, ask_tcp, is_refused};
use crate::world::{HOST, OUTSIDE, SOON, World, at};
use api::Client;
use nix::sys::signal::Signal;
use std::process::Command;
use testbed::docker::Container;
use testbed::wait_until;

/// As Docker calls it, and the driver with it.
const PLUGIN: &str = "clearway/clearway:latest";

/// Ends what runs `/clearway plugin`; fails where nothing does.
const KILL: &str = "for of in /proc/[0-9]*; do \
    words=$(tr '\\0' ' ' < $of/cmdline); \
    case \"$words\" in '/clearway plugin '*) kill -KILL ${of#/proc/}; exit;; esac; \
    done; exit 1";

/// A world whose daemon has made way for one that runs as a plugin.
struct Managed {
    world: World,
}

impl Managed {
    fn start() -> Option<Self> {
        let mut world = World::start()?;
        world.clearway.end(Signal::SIGTERM);
        let state = world.machine.dir().join("plugin-state");
        std::fs::create_dir(state).unwrap();
        let it = Self { world };
        it.install();
        // By the socket that the plugin shows its machine.
        let mut uplink = Command::new(binary());
        uplink.args(["uplink", "add", "eth0"]);
        let told = it.world.machine.output(uplink).unwrap();
        assert!(told.status.success(), "{told:?}");
        Some(it)
    }

    /// Makes the plugin and has dockerd run it.
    #[track_caller]
    fn install(&self) {
        let dir = self.world.machine.dir();
        let made = dir.join("plugin");
        let mut make = Command::new(env!("CARGO"));
        make.args(["run", "--quiet", "--locked", "--package", "xtask"]);
        make.args(["--", "plugin", "--program"]).arg(binary());
        let told = make.arg("--out").arg(&made).output().unwrap();
        assert!(told.status.success(), "{told:?}");
        let docker = |words: &str| self.world.docker(words);
        docker(&format!("plugin create {PLUGIN} {}", made.display()));
        let state = dir.join("plugin-state");
        docker(&format!(
            "plugin set {PLUGIN} state.source={}",
            state.display()
        ));
        docker(&format!("plugin enable {PLUGIN}"));
        std::fs::remove_dir_all(made).unwrap();
    }

    /// A network `web` of both IP versions.
    #[track_caller]
    fn dual_web(&self) {
        let nets = "--ipv6 --subnet 10.1.0.0/24 --subnet 2001:db8:1::/64";
        let words = format!("network create --driver {PLUGIN} {nets} web");
        self.world.docker(&words);
    }

    /// Kills the plugin's process, as a fault of it would.
    #[track_caller]
    fn kill(&self) {
        let mut kill = Command::new("sh");
        kill.args(["-c", KILL]);
        let told = self.world.machine.output(kill).unwrap();
        assert!(told.status.success(), "{told:?}");
    }

    /// Asks the plugin's daemon on its machine.
    fn ask<T: Send + 'static>(&self, what: impl FnOnce(&Client) -> T + Send + 'static) -> T {
        let ask = || what(&Client::new(api::DEFAULT_SOCKET).with_timeout(SOON));
        self.world.machine.run(ask)
    }

    #[track_caller]
    fn has_endpoints(&self, count: usize) {
        let counted =
            || self.ask(move |client| client.endpoints().is_ok_and(|all| all.len() == count));
        wait_until(&format!("{count} endpoints"), SOON, counted).unwrap();
    }

    /// Fails unless `shop` is reached at port 8081 and by name, and reaches the world.
    #[track_caller]
    fn works(&self, shop: &Container, peer: &Container) {
        let world = &self.world;
        world.reaches(peer, "shop");
        world.reaches(shop, "peer");
        let _teller = Teller::start(&world.ns(shop), 80);
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            world.reaches(shop, &outside.to_string());
            let seen = || ask_tcp(&world.outside, at(host, 8081));
            wait_until(&format!("{outside} seen at {host}"), SOON, || {
                seen().is_ok_and(|seen| seen.ip() == outside)
            })
            .unwrap();
            ask_tcp(world.host(), at(host, 8081)).unwrap();
        }
    }
}

/// Its control group is beside the machine's, and goes with its container alone.
impl Drop for Managed {
    fn drop(&mut self) {
        let disable = ["plugin", "disable", "--force", PLUGIN];
        // It may be gone, or have never been.
        let _ = self.world.engine.output(&disable);
    }
}

#[test]
fn a_managed_plugin_carries_traffic_is_replaced_and_leaves_nothing() {
    let Some(managed) = Managed::start() else {
        return;
    };
    let world = &managed.world;
    let links = world.links();
    managed.dual_web();
    let shop = world.run("--network web --name shop -p 8081:80");
    let peer = world.run("--network web --name peer");
    managed.works(&shop, &peer);
    managed.has_endpoints(2);
    world.has_no_bridge();
    wait_until("the containers' names", SOON, || {
        managed.ask(|client| {
            let endpoints = client.endpoints().unwrap();
            let named = |name| {
                endpoints
                    .iter()
                    .any(|e| e.name.as_ref().is_some_and(|n| n.as_str() == name))
            };
            named("shop") && named("peer")
        })
    })
    .unwrap();

    // While it is in use Docker keeps it, unless it is told twice.
    let refused = world.engine.refusal(&format!("plugin disable {PLUGIN}"));
    assert!(refused.as_ref().unwrap().contains("in use"), "{refused:?}");
    let line = Line::open(
        (&world.outside, 7000),
        &world.ns(&shop),
        at(OUTSIDE[0], 7000),
    );
    world.docker(&format!("plugin disable --force {PLUGIN}"));
    world.docker(&format!("plugin rm --force {PLUGIN}"));
    managed.install();
    managed.has_endpoints(2);
    line.carries();
    drop(line);
    managed.works(&shop, &peer);
    let late = world.run("--network web --name late -p 8082:80");
    world.reaches(&late, "shop");

    // All of it goes as it came.
    for container in [shop, peer, late] {
        container.remove(&world.engine).unwrap();
    }
    managed.has_endpoints(0);
    is_refused(&world.outside, at(HOST[0], 8081));
    world.remove_network("web");
    assert_eq!(managed.ask(|client| client.networks().unwrap()), []);
    assert_eq!(world.links(), links);
    world.docker(&format!("plugin disable {PLUGIN}"));
    world.docker(&format!("plugin rm {PLUGIN}"));
    assert_eq!(world.docker("plugin ls --quiet"), "");
}

/// Docker starts it again when it has ended, and with the engine before the containers.
#[test]
fn a_managed_plugin_comes_back_after_any_end() {
    let Some(mut managed) = Managed::start() else {
        return;
    };
    managed.dual_web();
    let world = &managed.world;
    let always = "--network web --restart always";
    let shop = world.run(&format!("{always} --name shop -p 8081:80"));
    let peer = world.run(&format!("{always} --name peer"));
    managed.works(&shop, &peer);
    managed.kill();
    managed.works(&shop, &peer);
    for is_clean in [true, false] {
        let engine = &mut managed.world.engine;
        if is_clean {
            engine.stop().unwrap();
        } else {
            engine.kill().unwrap();
        }
        engine.start_again().unwrap();
        for container in [&shop, &peer] {
            managed.world.comes_up(container);
        }
        managed.works(&shop, &peer);
        managed.has_endpoints(2);
    }
}
