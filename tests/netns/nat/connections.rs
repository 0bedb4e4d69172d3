//! `clearway nat`: what it says of traffic that is really there.

use super::line::{Line, are_dead};
use super::talk::{Teller, ask_from, udp};
use super::{HOST, Outside, WORLD, at};
use crate::binary::binary;
use crate::fixture::SOON;
use api::{IpProtocol, NatChange, NatEntry, NatEvent, NatState};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use testbed::Child;

impl Outside {
    fn nat(&self, words: &str) -> String {
        let said = self.clearway.cli(&format!("nat {words}"));
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    fn listed(&self, filter: &str) -> Vec<NatEntry> {
        serde_json::from_str(&self.nat(&format!("ls -o json {filter}"))).unwrap()
    }
}

#[test]
fn connections_are_listed_by_every_filter() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let other = outside.clearway.network("other", 2);
    let shop = outside.container(&web, "shop");
    let bystander = outside.container(&other, "bystander");
    let teller = Teller::start(&outside.world, 7001);
    for (index, (world, host)) in WORLD.into_iter().zip(HOST).enumerate() {
        for container in [&shop, &bystander] {
            container.reaches(world);
            // Pings that are done do not matter here.
            outside.nat(&format!("flush --dst {world}"));
        }
        let line = Line::open((&outside.world, 7000), &shop.ns, at(world, 7000));
        let socket = udp(&bystander.ns, world, 0);
        socket.connect(teller.at(world)).unwrap();
        let seen = ask_from(&socket).unwrap();

        let of_line = format!("--dst {world} --port 7000");
        let entries = outside.listed(&of_line);
        let [entry] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!(entry.protocol, IpProtocol::TCP);
        assert_eq!(entry.state, NatState::Established);
        assert_eq!(
            (&entry.network, &entry.endpoint),
            (&web, &Some(shop.endpoint.id.clone()))
        );
        assert_eq!(entry.original.src, line.caller());
        assert_eq!(entry.original.src.ip(), shop.ip(index));
        assert_eq!(entry.translated.src, line.seen);
        assert_eq!(entry.translated.src.ip(), host);
        for tuple in [entry.original, entry.translated] {
            assert_eq!(tuple.dst, at(world, 7000));
        }
        // A SYN, an ACK, a word and the ACK of another at least.
        assert!(
            entry.sent.packets >= 4 && entry.received.packets >= 3,
            "{entry:?}"
        );
        assert!(entry.sent.bytes > 4 * 40, "{entry:?}");
        assert!((1..=7440).contains(&entry.expires_seconds), "{entry:?}");

        for yes in [
            format!("--src {}", shop.ip(index)),
            format!("--src {}", entry.translated.src.ip()),
            "--protocol tcp".to_owned(),
            "--network web".to_owned(),
            format!("--endpoint {}", shop.endpoint.id),
            "--state established --protocol tcp".to_owned(),
            format!("src {} and nat and state established", shop.ip(index)),
            format!("endpoint {} or udp", shop.endpoint.id),
            "not ( network other or udp )".to_owned(),
        ] {
            assert_eq!(
                outside.listed(&format!("{of_line} {yes}")).len(),
                1,
                "{yes}"
            );
        }
        for port in [line.caller().port(), line.seen.port()] {
            let by_port = outside.listed(&format!("--dst {world} --port {port}"));
            assert_eq!(by_port.len(), 1, "{port}: {by_port:?}");
        }
        for no in [
            format!("--src {}", bystander.ip(index)),
            "--port 7001".to_owned(),
            "--network other".to_owned(),
            format!("--endpoint {}", bystander.endpoint.id),
            "--state closing".to_owned(),
            format!("src {world} or endpoint {}", bystander.endpoint.id),
            "not tcp".to_owned(),
        ] {
            let no = format!("--dst {world} --protocol tcp {no}");
            assert_eq!(outside.listed(&no), [], "{no}");
        }
        let datagrams = outside.listed(&format!("--dst {world} --protocol udp"));
        let [entry] = &datagrams[..] else {
            panic!("{datagrams:?}");
        };
        assert_eq!(entry.translated.src, seen);
        assert_eq!((entry.sent.packets, entry.received.packets), (1, 1));
        let table = outside.nat(&format!("ls {of_line}"));
        let row = table.lines().nth(1).unwrap();
        assert!(row.contains(&line.caller().to_string()), "{table}");
        outside.nat("flush --all");
    }
}

#[test]
fn pings_are_listed_by_their_identifier() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    for (world, protocol) in WORLD.into_iter().zip(["icmp", "icmpv6"]) {
        outside.nat("flush --all");
        assert!(container.ping(world, 3).is_complete());
        let entries = outside.listed(&format!("--protocol {protocol} --dst {world}"));
        let [entry] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((entry.sent.packets, entry.received.packets), (3, 3));
        assert_ne!(entry.original.src.port(), 0);
        assert_eq!(entry.original.dst.port(), 0);
    }
}

#[test]
fn what_is_flushed_is_forgotten_and_nothing_else() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    outside.nat("flush --all");
    for world in WORLD {
        let [going, staying] = [7000, 7001]
            .map(|port| Line::open((&outside.world, port), &container.ns, at(world, port)));
        assert_eq!(outside.nat("flush --port 7000"), "1 forgotten\n");
        assert_eq!(outside.listed("--port 7000"), []);
        are_dead(&[going]);
        staying.carries();
        assert_eq!(outside.nat("flush --port 7000"), "0 forgotten\n");
        assert_eq!(outside.nat("flush --all"), "1 forgotten\n");
        are_dead(&[staying]);
        let refused = outside.clearway.cli("nat flush");
        assert!(!refused.status.success(), "without a filter it takes --all");
    }
}

#[test]
fn a_filter_forgets_just_what_it_lists() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network("web", 1);
    let other = outside.clearway.network("other", 2);
    let (shop, bystander) = (
        outside.container(&web, "shop"),
        outside.container(&other, "bystander"),
    );
    let world = WORLD[0];
    let teller = Teller::start(&outside.world, 7001);
    let _lines = [&shop, &bystander]
        .map(|from| Line::open((&outside.world, 7000), &from.ns, at(world, 7000)));
    let seen = |filter: &str| {
        let entries = outside.listed(filter);
        let key = |entry: NatEntry| (entry.protocol, entry.original, entry.translated);
        entries.into_iter().map(key).collect::<HashSet<_>>()
    };
    for filter in [
        "udp and network other".to_owned(),
        format!("udp and src {}", shop.ip(0)),
        format!("endpoint {} and not udp", shop.endpoint.id),
        "tcp port 7000 and state established".to_owned(),
    ] {
        for from in [&shop, &bystander] {
            let socket = udp(&from.ns, world, 0);
            socket.connect(teller.at(world)).unwrap();
            ask_from(&socket).unwrap();
        }
        let (all, chosen) = (seen(""), seen(&filter));
        assert!(!chosen.is_empty() && chosen.len() < all.len(), "{filter}");
        let forgotten = outside.nat(&format!("flush {filter}"));
        assert_eq!(
            forgotten,
            format!("{} forgotten\n", chosen.len()),
            "{filter}"
        );
        assert_eq!(seen(""), &all - &chosen, "{filter}");
    }
}

#[test]
fn words_that_say_nothing_about_connections_are_refused() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    let line = Line::open((&outside.world, 7000), &container.ns, at(WORLD[0], 7000));
    for (filter, says) in [
        ("tcp or drop", "`drop` says nothing about a connection"),
        (
            "hots",
            "`hots` is not known; a filter is made of host, net,",
        ),
        ("tcp and", "the end stands where host, net,"),
        ("network nowhere", "there is no network `nowhere`"),
        ("--endpoint nobody", "there is no endpoint `nobody`"),
    ] {
        for command in ["ls", "flush", "watch"] {
            let refused = outside.clearway.cli(&format!("nat {command} {filter}"));
            let error = String::from_utf8_lossy(&refused.stderr);
            assert!(!refused.status.success(), "{command} {filter}");
            assert!(error.contains(says), "{command} {filter}: {error}");
        }
    }
    line.carries();
}

/// `clearway nat watch`, line by line.
struct Watch {
    _program: Child,
    lines: Receiver<NatEvent>,
}

impl Watch {
    fn start(outside: &Outside, words: &str) -> Self {
        let mut command = Command::new(binary());
        let socket = outside.clearway.socket();
        command
            .arg("--socket")
            .arg(socket)
            .args(["nat", "watch", "-o", "json"]);
        command
            .args(words.split_whitespace())
            .stdout(Stdio::piped());
        let mut program = Child::spawn(&mut command).unwrap();
        let stdout = program.process().stdout.take().unwrap();
        Self {
            _program: program,
            lines: events(stdout),
        }
    }

    fn next(&self) -> NatEvent {
        self.lines.recv_timeout(SOON).unwrap()
    }
}

fn events(stdout: ChildStdout) -> Receiver<NatEvent> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn a_connections_life_can_be_watched() {
    let outside = Outside::with_uplink();
    let (_, container) = outside.web();
    outside.nat("flush --all");
    let watch = Watch::start(&outside, "--network web --protocol tcp");
    // The watch stands when it tells of something.
    let stands = testbed::wait_until("a watch that stands", SOON, || {
        drop(Line::open(
            (&outside.world, 9),
            &container.ns,
            at(WORLD[0], 9),
        ));
        watch.lines.try_recv().is_ok()
    });
    stands.unwrap();
    for (world, host) in WORLD.into_iter().zip(HOST) {
        let line = Line::open((&outside.world, 7000), &container.ns, at(world, 7000));
        // A ping is none of it.
        assert!(container.ping(world, 1).is_complete());
        let (caller, seen) = (line.caller(), line.seen);
        drop(line);
        let mut told = Vec::new();
        while told.len() < 3 {
            let event = watch.next();
            assert_eq!(event.entry.protocol, IpProtocol::TCP);
            if event.entry.original.src == caller {
                assert_eq!(event.entry.translated.src, seen);
                assert_eq!(seen.ip(), host);
                told.push((event.event, event.entry.state));
            }
        }
        let life = [
            (NatChange::New, NatState::Opening),
            (NatChange::Update, NatState::Established),
            (NatChange::Update, NatState::Closing),
        ];
        assert_eq!(told, life);
        outside.nat(&format!("flush --port {}", caller.port()));
        loop {
            let event = watch.next();
            if event.entry.original.src == caller {
                assert_eq!(event.event, NatChange::Destroy);
                break;
            }
        }
    }
}
