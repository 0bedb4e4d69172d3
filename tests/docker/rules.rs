//! The machine's firewall and interfaces: untouched while containers run, as before afterwards.

use crate::talk::{Teller, ask_tcp};
use crate::world::{HOST, OUTSIDE, SOON, World, at};
use std::path::Path;
use testbed::docker::{Firewall, Settings};
use testbed::wait_until;

/// All rules of the machine's firewall, in both of the kernel's ways to hold them.
fn rules(world: &World) -> String {
    ["iptables-save", "ip6tables-save", "nft list ruleset"]
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let told = world.host().output(words[0], &words[1..]).unwrap();
            // The hour and the packets that passed are no rules.
            let kept = told.lines().filter(|line| !line.starts_with('#'));
            let kept = kept.map(|line| line.split(" [").next().unwrap().to_owned() + "\n");
            format!("$ {line}\n{}", kept.collect::<String>())
        })
        .concat()
}

/// All that is to be seen of the machine's network: what a daemon with an uplink has is in it.
fn network(world: &World) -> String {
    [
        "-o link show",
        "-o address show",
        "route show table all",
        "-6 route show table all",
        "rule show",
    ]
    .map(|words| format!("$ ip {words}\n{}", world.host().ip(words).unwrap()))
    .concat()
}

fn use_it(world: &World) {
    world.dual("web", 1);
    world.network("lab", "--internal --subnet 10.2.0.0/24");
    let shop = world.run("--network web --name shop -p 8081:80");
    let lab = world.run("--network lab --name lab -p 8082:80");
    world.docker("network connect lab shop");
    world.reaches(&lab, "shop");
    let _teller = Teller::start(&world.ns(&shop), 80);
    let seen = ask_tcp(&world.outside, at(HOST[0], 8081)).unwrap();
    assert_eq!(seen.ip(), OUTSIDE[0]);
    world.reaches(&shop, &OUTSIDE[0].to_string());
}

fn undo(world: &World) {
    world.docker("rm --force shop lab");
    world.remove_network("web");
    world.remove_network("lab");
    world.has_endpoints(0);
}

#[test]
fn the_firewall_stays_byte_for_byte() {
    for firewall in [Firewall::Untouched, Firewall::Rules] {
        let settings = Settings {
            firewall,
            ..Settings::default()
        };
        let Some(world) = World::start_with(settings) else {
            return;
        };
        world
            .host()
            .output("nft", &["add", "table", "inet", "theirs"])
            .unwrap();
        let before = rules(&world);
        assert!(before.contains("theirs"), "{before}");
        use_it(&world);
        assert_eq!(rules(&world), before, "{firewall:?}: while containers run");
        undo(&world);
        assert_eq!(rules(&world), before, "{firewall:?}: afterwards");
    }
}

#[test]
fn nothing_is_left_when_all_is_removed() {
    let Some(world) = World::start() else { return };
    // Once before, for what is made once and kept.
    use_it(&world);
    undo(&world);
    let seen = || {
        let mut descriptors = world.clearway.descriptors();
        descriptors.sort_unstable();
        (network(&world), descriptors)
    };
    let mut before = seen();
    wait_until("a machine that stays as it is", SOON, || {
        let last = std::mem::replace(&mut before, seen());
        last == before
    })
    .unwrap();
    for _ in 0..3 {
        use_it(&world);
        undo(&world);
    }
    let settled = wait_until("a machine as before", SOON, || seen() == before);
    if let Err(error) = settled {
        assert_eq!(seen(), before, "{error}");
    }
    let client = world.clearway.client();
    assert_eq!(client.networks().unwrap(), []);
    assert_eq!(client.publications().unwrap(), []);
    assert_eq!(client.endpoints().unwrap(), []);
    // What it remembers names nothing of them any more, once it has been quiet for a while.
    let named = || named_in(&world.machine.dir().join("state"));
    let forgotten = wait_until("files without names", SOON, || named().is_empty());
    if let Err(error) = forgotten {
        assert_eq!(named(), [""; 0], "{error}");
    }
}

/// Words of the removed containers that stand in a file of `directory`.
fn named_in(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let mut named = Vec::new();
    for path in paths.filter(|path| path.is_file()) {
        // A file that was renamed meanwhile is another path's.
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let words = ["shop", "10.1.0.", "10.2.0.", "8081"].into_iter();
        let found = words.filter(|word| text.contains(word));
        named.extend(found.map(|word| format!("{word} in {}: {text}", path.display())));
    }
    named
}
