//! Names: what `dig` and the C library are told at the gateway's address.

use super::resolver::Resolver;
use super::{Outside, WORLD, gateway};
use crate::fixture::{Clearway, Container, name};
use api::{Attach, Detach, Endpoint, Name, Netns};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testbed::{Namespace, wait_until};

/// What somebody said about a name.
#[derive(Debug)]
struct Said {
    /// RFC 1035, 4.1.1, in words: NOERROR, NXDOMAIN ...
    status: String,
    /// TTL and data of each record.
    records: Vec<(u32, String)>,
}

impl Said {
    /// Of `dig` with `+comments +answer`.
    fn parse(text: &str) -> Self {
        let after = text.split("status: ").nth(1).unwrap();
        let status = after.split(',').next().unwrap().to_owned();
        let records = text.lines().filter(|line| !line.starts_with(';'));
        let record = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[_, ttl, _, _, data] = &words[..] else {
                return None;
            };
            Some((ttl.parse().unwrap(), data.to_owned()))
        };
        let records = records.filter_map(record).collect();
        Self { status, records }
    }

    /// The data of the one record there must be.
    fn only(&self) -> &str {
        assert_eq!((self.status.as_str(), self.records.len()), ("NOERROR", 1));
        &self.records[0].1
    }

    fn is(&self, status: &str) -> bool {
        self.status == status && self.records.is_empty()
    }
}

/// Asks once; whoever is asked has ten seconds.
fn dig(from: &Namespace, server: IpAddr, words: &str) -> Said {
    let server = format!("@{server}");
    let mut all = vec!["+tries=1", "+time=10", "+noall", "+comments", "+answer"];
    all.push(&server);
    all.extend(words.split_whitespace());
    Said::parse(&from.output("dig", &all).unwrap())
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);

/// An outside whose host asks the name servers of a file of its own.
struct Asking {
    outside: Outside,
    file: PathBuf,
}

impl Asking {
    fn start(servers: &[IpAddr]) -> Self {
        let host = Namespace::with_mounts().unwrap();
        let outside = Outside::around(Clearway::start_in(host, ""));
        let file = outside.clearway.dir.path().join("resolv.conf");
        let it = Self { outside, file };
        it.names(servers);
        let own = it.file.to_str().unwrap();
        let words = ["--bind", own, "/etc/resolv.conf"];
        it.outside.host().output("mount", &words).unwrap();
        it
    }

    /// From now on the file names these.
    fn names(&self, servers: &[IpAddr]) {
        let lines = servers.iter().map(|ip| format!("nameserver {ip}\n"));
        std::fs::write(&self.file, lines.collect::<String>()).unwrap();
    }

    fn resolver(&self, at: IpAddr, address: Ipv4Addr) -> Resolver {
        Resolver::start(&self.outside.world, at, address)
    }
}

fn named(clearway: &Clearway, network: &Name, called: &str) -> Container {
    clearway.container_with(network, |attach| attach.name = Some(name(called)))
}

#[test]
fn containers_are_found_by_name_and_by_address() {
    let clearway = Clearway::start();
    let web = clearway.network("web", 1);
    let db = clearway.container_with(&web, |attach| {
        attach.name = Some(name("db"));
        attach.aliases = vec![name("store"), name("pg")];
    });
    let client = clearway.container(&web);
    for server in gateway(1) {
        client.reaches(server);
        for way in ["+notcp", "+tcp", "+noedns"] {
            let ask = |words: &str| dig(&client.ns, server, &format!("{way} {words}"));
            for called in ["db", "store", "pg", "db.web", "DB.Web", "store.web"] {
                for (index, kind) in ["A", "AAAA"].into_iter().enumerate() {
                    let said = ask(&format!("{called} {kind}"));
                    assert_eq!(said.only(), db.ip(index).to_string(), "{called} {way}");
                    assert!(said.records[0].0 <= 5, "{said:?} may be another's soon");
                }
                // It is there, and has nothing of this kind.
                assert!(ask(&format!("{called} MX")).is("NOERROR"), "{called} {way}");
            }
            for index in 0..2 {
                let said = ask(&format!("-x {}", db.ip(index)));
                assert_eq!(said.only(), "db.web.", "{way}");
            }
            // Of the network's, and nobody's: not asked of anybody else.
            assert!(ask("-x 10.1.77.77").is("NXDOMAIN"), "{way}");
            assert!(ask("-x 2001:db8:1::7777").is("NXDOMAIN"), "{way}");
        }
    }
}

/// The world has the domain, too: what no container is called is asked outside.
#[test]
fn containers_are_found_under_the_search_domain() {
    let asking = Asking::start(&[WORLD[0]]);
    let resolver = asking.resolver(WORLD[0], ADDRESS);
    let clearway = &asking.outside.clearway;
    let web = clearway.network_with("web", 1, |network| {
        network.routing.search_domain = "corp.example.com".parse().unwrap();
    });
    let db = named(clearway, &web, "db");
    let client = clearway.container(&web);
    let server = gateway(1)[0];
    client.reaches(server);
    let ask = |name: &str| dig(&client.ns, server, name);
    assert_eq!(ask("db.corp.example.com A").only(), db.ip(0).to_string());
    assert_eq!(ask("db A").only(), db.ip(0).to_string());
    assert_eq!(resolver.asked(), 0);
    assert_eq!(ask("ldap.corp.example.com A").only(), ADDRESS.to_string());
    asking.outside.set(&web, |set| {
        set.search_domain = Some("other.example.com".parse().unwrap());
    });
    assert_eq!(ask("db.other.example.com A").only(), db.ip(0).to_string());
    assert_eq!(ask("db.corp.example.com A").only(), ADDRESS.to_string());
}

#[test]
fn the_c_library_finds_a_container() {
    let clearway = Clearway::start();
    let web = clearway.network("web", 1);
    let db = named(&clearway, &web, "db");
    let ns = Namespace::with_mounts().unwrap();
    let file = clearway.dir.path().join("resolv.conf");
    std::fs::write(&file, format!("nameserver {}\n", gateway(1)[0])).unwrap();
    let words = ["--bind", file.to_str().unwrap(), "/etc/resolv.conf"];
    ns.output("mount", &words).unwrap();
    let attach = Attach::new(web, Netns::Path(ns.path()));
    let endpoint = clearway.client().attach(&attach).unwrap();
    let client = Container { ns, endpoint };
    client.reaches(gateway(1)[0]);
    // It asks for both families at once, from one socket.
    let found = client.ns.output("getent", &["ahosts", "db"]).unwrap();
    for index in 0..2 {
        let want = db.ip(index).to_string();
        assert!(found.lines().any(|line| line.starts_with(&want)), "{found}");
    }
    let back = [db.ip(0).to_string()];
    let found = client.ns.output("getent", &["hosts", &back[0]]).unwrap();
    assert!(found.contains("db.web"), "{found}");
}

#[test]
fn a_name_answers_once_attach_has_returned_and_no_more_after_detach() {
    let clearway = Clearway::start();
    // Nothing is asked outside from an internal network.
    let vault = clearway.network_with("vault", 3, |network| network.routing.internal = true);
    let client = clearway.container(&vault);
    let server = gateway(3)[0];
    client.reaches(server);
    let mut others: Vec<(String, Container)> = Vec::new();
    for n in 0..20 {
        let called = format!("c{n}");
        assert!(dig(&client.ns, server, &called).is("NXDOMAIN"), "{called}");
        let container = named(&clearway, &vault, &called);
        let said = dig(&client.ns, server, &called);
        assert_eq!(said.only(), container.ip(0).to_string());
        others.push((called, container));
    }
    for (called, container) in others {
        let detach = Detach::Endpoint(container.endpoint.id.clone());
        let _: Endpoint = clearway.client().detach(&detach).unwrap();
        assert!(dig(&client.ns, server, &called).is("NXDOMAIN"), "{called}");
        let back = format!("-x {}", container.ip(0));
        assert!(dig(&client.ns, server, &back).is("NXDOMAIN"), "{called}");
    }
}

#[test]
fn names_of_a_network_are_unknown_in_another() {
    let asking = Asking::start(&[WORLD[0]]);
    let resolver = asking.resolver(WORLD[0], ADDRESS);
    let clearway = &asking.outside.clearway;
    let (web, other) = (clearway.network("web", 1), clearway.network("other", 2));
    let db = named(clearway, &web, "db");
    let stranger = clearway.container(&other);
    let server = gateway(2)[0];
    stranger.reaches(server);
    for words in ["db", "db.web", &format!("-x {}", db.ip(0))] {
        assert!(dig(&stranger.ns, server, words).is("NXDOMAIN"), "{words}");
    }
    assert_eq!(resolver.asked(), 3, "the world was asked instead");
    // Whoever is in both networks knows both, whichever gateway it asks.
    let mut attach = Attach::new(web, Netns::Path(stranger.ns.path()));
    attach.ifname = "eth1".to_owned();
    attach.gateways = Some(Vec::new());
    clearway.client().attach(&attach).unwrap();
    for server in [gateway(1)[0], gateway(2)[0]] {
        for words in ["db", "db.web"] {
            let said = dig(&stranger.ns, server, words);
            assert_eq!(said.only(), db.ip(0).to_string(), "{words} at {server}");
        }
    }
    assert_eq!(resolver.asked(), 3);
}

#[test]
fn the_hosts_resolver_is_asked_for_the_rest_and_remembered() {
    let asking = Asking::start(&[WORLD[0]]);
    let resolver = asking.resolver(WORLD[0], ADDRESS);
    let web = asking.outside.clearway.network("web", 1);
    let client = asking.outside.clearway.container(&web);
    client.reaches(gateway(1)[0]);
    let ask = |words: &str| dig(&client.ns, gateway(1)[0], words);
    for (way, asked) in [("+notcp", 1), ("+tcp", 1), ("+noedns", 1)] {
        let said = ask(&format!("{way} www.example.com"));
        assert_eq!(said.only(), ADDRESS.to_string(), "{way}");
        assert!(said.records[0].0 <= Resolver::TTL);
        assert_eq!(resolver.asked(), asked, "{way}");
    }
    // What is remembered grows old.
    wait_until("an older answer", Duration::from_secs(5), || {
        ask("www.example.com").records[0].0 < Resolver::TTL
    })
    .unwrap();
    assert_eq!(resolver.asked(), 1);
    assert!(ask("www.example.com AAAA").is("NOERROR"));
    assert!(ask("www.example.org").is("NXDOMAIN"));
    assert_eq!(resolver.asked(), 3);

    // The file is followed, and what others answered is forgotten.
    let elsewhere = Ipv4Addr::new(198, 51, 100, 78);
    let other = asking.resolver(WORLD[1], elsewhere);
    asking.names(&[WORLD[1]]);
    wait_until("the other resolver", Duration::from_secs(10), || {
        ask("www.example.com").only() == elsewhere.to_string()
    })
    .unwrap();
    assert_eq!((resolver.asked(), other.asked()), (3, 1));
}

#[test]
fn a_silent_resolver_is_told_of_in_bounded_time() {
    let asking = Asking::start(&[WORLD[0]]);
    let silent = asking.resolver(WORLD[0], ADDRESS);
    let web = asking.outside.clearway.network("web", 1);
    let db = named(&asking.outside.clearway, &web, "db");
    let client = asking.outside.clearway.container(&web);
    client.reaches(gateway(1)[0]);
    let ask = |words: &str| dig(&client.ns, gateway(1)[0], words);
    assert_eq!(ask("known.example.com").only(), ADDRESS.to_string());
    silent.fall_silent();
    let start = Instant::now();
    assert!(ask("www.example.com").is("SERVFAIL"));
    let took = start.elapsed();
    // Two tries of two seconds each: less than the five that the C library waits.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(silent.asked(), 3);
    // Meanwhile the rest goes on.
    assert_eq!(ask("known.example.com").only(), ADDRESS.to_string());
    assert_eq!(ask("db").only(), db.ip(0).to_string());
    // Where there is another, it answers.
    let other = asking.resolver(WORLD[1], ADDRESS);
    asking.names(&WORLD);
    wait_until("an answer of the other", Duration::from_secs(20), || {
        ask("www.example.com").status == "NOERROR"
    })
    .unwrap();
    assert_eq!(other.asked(), 1);
}

#[test]
fn an_internal_network_asks_nobody_outside() {
    let asking = Asking::start(&[WORLD[0]]);
    let resolver = asking.resolver(WORLD[0], ADDRESS);
    let clearway = &asking.outside.clearway;
    let vault = clearway.network_with("vault", 3, |network| network.routing.internal = true);
    let db = named(clearway, &vault, "db");
    let client = clearway.container(&vault);
    client.reaches(gateway(3)[0]);
    let ask = |words: &str| dig(&client.ns, gateway(3)[0], words);
    assert_eq!(ask("db").only(), db.ip(0).to_string());
    assert!(ask("www.example.com").is("REFUSED"));
    assert!(ask("nobody").is("NXDOMAIN"));
    assert!(ask("-x 198.51.100.1").is("REFUSED"));
    assert_eq!(resolver.asked(), 0);
}
