//! What a STUN server beyond the world finds out about the NAT (RFC 5780): coturn is the judge.

use super::{FAR, Outside, settled};
use crate::fixture::{Container, SOON};
use api::Dependence::{self, AddressAndPortDependent, AddressDependent, EndpointIndependent};
use api::{NetworkSet, Preset};
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use testbed::{Child, Namespace, link, wait_until};

/// What coturn found.
#[derive(Debug, PartialEq, Eq)]
struct Class {
    mapping: Dependence,
    filtering: Dependence,
}

/// Two addresses of each IP version, as RFC 5780 asks for.
const SECOND: [&str; 2] = ["198.51.100.131", "2001:db8:fffe::3"];

const PORTS_OF_A_RUN: u16 = 40;
/// More than all tests together make.
const RUNS_AT_MOST: u16 = 250;

/// coturn at both addresses of one IP version.
struct Server {
    address: IpAddr,
    _process: Child,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start(far: &Namespace, index: usize) -> Self {
        let (address, second) = (FAR[index], SECOND[index]);
        let dir = tempfile::tempdir().unwrap();
        let at = |file: &str| dir.path().join(file).display().to_string();
        let config = format!(
            "listening-ip={address}\nlistening-ip={second}\nstun-only\nno-tcp\nno-tls\nno-dtls\n\
             no-cli\nsimple-log\nlog-file={}\npidfile={}\ndb={}\n",
            at("log"),
            at("pid"),
            at("db")
        );
        std::fs::write(at("config"), config).unwrap();
        let mut command = far.command("turnserver");
        command.args(["-c", &at("config")]);
        let process = Child::spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
        let listens = || {
            let sockets = far.output("ss", &["-Hlun"]).unwrap();
            [address.to_string(), second.to_owned()].iter().all(|ip| {
                let of = |port: u16| match address {
                    IpAddr::V4(_) => format!("{ip}:{port}"),
                    IpAddr::V6(_) => format!("[{ip}]:{port}"),
                };
                sockets.contains(&of(3478)) && sockets.contains(&of(3479))
            })
        };
        if let Err(error) = wait_until("coturn at four sockets", SOON, listens) {
            let log = std::fs::read_to_string(at("log")).unwrap_or_default();
            panic!("{error}: {log}");
        }
        Self {
            address,
            _process: process,
            _dir: dir,
        }
    }

    /// From ports that no run before had: a mapping of an earlier choice lives on in its port. Each is
    /// one of the uplink's, too, so that it can be preserved.
    fn discover(&self, from: &Namespace, what: &[&str]) -> String {
        static RUNS: AtomicU16 = AtomicU16::new(0);
        let first = 50_000 + PORTS_OF_A_RUN * (RUNS.fetch_add(1, Relaxed) % RUNS_AT_MOST);
        let last = first + PORTS_OF_A_RUN - 1;
        let range = format!("net.ipv4.ip_local_port_range={first} {last}");
        from.output("sysctl", &["-qw", &range]).unwrap();
        let address = self.address.to_string();
        let words = [what, &[address.as_str()]].concat();
        from.output("turnutils_natdiscovery", &words).unwrap()
    }

    fn class(&self, from: &Namespace) -> Class {
        let mapping = self.discover(from, &["-m"]);
        // Nothing that it asks for is to be filtered: what it says of less is not said.
        assert!(!mapping.contains("timeout"), "{mapping}");
        let filtering = self.discover(from, &["-f"]);
        Class {
            mapping: verdict("Mapping", &mapping),
            filtering: verdict("Filtering", &filtering),
        }
    }
}

fn verdict(of: &str, report: &str) -> Dependence {
    let is_said = |(_, words): &&(Dependence, &str)| {
        report.contains(&format!("NAT with {words} Dependent {of}!"))
            || report.contains(&format!("NAT with {words} Independent {of}!"))
    };
    let found: Vec<_> = WORDS.iter().filter(is_said).collect();
    assert_eq!(found.len(), 1, "{of}: {report}");
    found[0].0
}

const WORDS: [(Dependence, &str); 3] = [
    (EndpointIndependent, "Endpoint"),
    (AddressDependent, "Address"),
    (AddressAndPortDependent, "Address and Port"),
];

/// A container, and servers that it reaches by both IP versions.
struct Judged {
    outside: Outside,
    network: api::Name,
    container: Container,
    servers: [Server; 2],
    far: Namespace,
}

impl Judged {
    fn start() -> Self {
        let outside = Outside::with_uplink();
        let far = outside.far(1500);
        for (index, second) in SECOND.into_iter().enumerate() {
            let len = [25, 64][index];
            link::address(&far, "eth0", &format!("{second}/{len}")).unwrap();
        }
        settled(&far);
        let servers = [0, 1].map(|index| Server::start(&far, index));
        let (network, container) = outside.web();
        for ip in FAR {
            container.reaches(ip);
        }
        Self {
            outside,
            network,
            container,
            servers,
            far,
        }
    }

    fn choose(&self, mapping: Dependence, filtering: Dependence) {
        self.set(|set| {
            set.mapping = Some(mapping);
            set.filtering = Some(filtering);
        });
    }

    /// Changes the NAT while it is in use.
    fn set(&self, change: impl FnOnce(&mut NetworkSet)) {
        self.outside.set(&self.network, change);
    }
}

#[test]
fn each_preset_is_what_it_says() {
    let judged = Judged::start();
    for (preset, mapping, filtering) in [
        (Preset::Rfc, EndpointIndependent, AddressAndPortDependent),
        (Preset::Home, EndpointIndependent, AddressAndPortDependent),
        (Preset::FullCone, EndpointIndependent, EndpointIndependent),
        (
            Preset::Corporate,
            AddressAndPortDependent,
            AddressAndPortDependent,
        ),
        (Preset::Cgnat, EndpointIndependent, EndpointIndependent),
        (
            Preset::Cloud,
            AddressAndPortDependent,
            AddressAndPortDependent,
        ),
        (
            Preset::Symmetric,
            AddressAndPortDependent,
            AddressAndPortDependent,
        ),
        (Preset::Rfc, EndpointIndependent, AddressAndPortDependent),
    ] {
        judged.set(|set| set.preset = Some(preset));
        for server in &judged.servers {
            let class = server.class(&judged.container.ns);
            let want = Class { mapping, filtering };
            assert_eq!(class, want, "{preset:?} at {}", server.address);
        }
    }
}

#[test]
fn mapping_and_filtering_are_chosen_alone() {
    let judged = Judged::start();
    // A preserved port is shared by connections whose peers differ, where each is filtered by its
    // own peer: from outside that looks like one mapping. A random one shows what is what.
    judged.set(|set| set.preset = Some(Preset::Corporate));
    for (mapping, _) in WORDS {
        for (filtering, _) in WORDS {
            judged.choose(mapping, filtering);
            let class = judged.servers[0].class(&judged.container.ns);
            // A mapping of one peer's address is never anybody else's, whatever else is wanted.
            let filtering = match (mapping, filtering) {
                (AddressDependent, EndpointIndependent) => AddressDependent,
                (_, filtering) => filtering,
            };
            assert_eq!(class, Class { mapping, filtering });
        }
    }
}

#[test]
fn a_port_that_others_may_answer_to_is_not_shared() {
    let judged = Judged::start();
    for filtering in [EndpointIndependent, AddressDependent] {
        judged.choose(AddressAndPortDependent, filtering);
        for server in &judged.servers {
            let class = server.class(&judged.container.ns);
            let mapping = AddressAndPortDependent;
            assert_eq!(class, Class { mapping, filtering });
        }
    }
}

#[test]
fn linux_is_judged_as_linux_is() {
    let judged = Judged::start();
    let far = &judged.far;
    // A router of the kernel's own beside Clearway, with the client behind it.
    let [router, client] = [(); 2].map(|()| Namespace::new().unwrap());
    link::veth(far, "eth1", &router, "eth0").unwrap();
    link::veth(&router, "eth1", &client, "eth0").unwrap();
    for (ns, ifname, net) in [
        (far, "eth1", "198.51.100.193/30"),
        (far, "eth1", "2001:db8:fffd::1/64"),
        (&router, "eth0", "198.51.100.194/30"),
        (&router, "eth0", "2001:db8:fffd::2/64"),
        (&router, "eth1", "10.9.0.1/24"),
        (&router, "eth1", "2001:db8:9::1/64"),
        (&client, "eth0", "10.9.0.2/24"),
        (&client, "eth0", "2001:db8:9::2/64"),
    ] {
        link::address(ns, ifname, net).unwrap();
    }
    for (ns, words) in [
        (&router, "route add default via 198.51.100.193"),
        (&router, "-6 route add default via 2001:db8:fffd::1"),
        (&client, "route add default via 10.9.0.1"),
        (&client, "-6 route add default via 2001:db8:9::1"),
    ] {
        ns.ip(words).unwrap();
    }
    for switch in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        router.output("sysctl", &["-qw", switch]).unwrap();
    }
    let rules = "add table inet nat; \
                 add chain inet nat out { type nat hook postrouting priority 100; }; \
                 add rule inet nat out oifname eth0 masquerade";
    router.output("nft", &[rules]).unwrap();

    judged.set(|set| set.preset = Some(Preset::Linux));
    for ns in [&client, &judged.container.ns] {
        settled(ns);
    }
    settled(&router);
    for server in &judged.servers {
        let ours = server.class(&judged.container.ns);
        assert_eq!(ours, server.class(&client), "{}", server.address);
        // Another peer's answer to the same port is another connection's.
        assert_eq!(ours.filtering, AddressAndPortDependent);
    }
}

#[test]
fn ports_are_kept_or_not_as_the_preset_says() {
    let judged = Judged::start();
    let ns = &judged.container.ns;
    for (preset, kept) in [
        (Preset::Rfc, true),
        (Preset::FullCone, true),
        (Preset::Corporate, false),
        (Preset::Cgnat, false),
        (Preset::Cloud, false),
        (Preset::Symmetric, false),
    ] {
        judged.set(|set| set.preset = Some(preset));
        // A port that is drawn may be the container's own by chance; hardly twice.
        let all_kept = judged.servers.iter().all(|server| {
            let report = server.discover(ns, &["-m"]);
            let port = |of: &str| -> u16 {
                let line = report.lines().find(|line| line.contains(of)).unwrap();
                line.rsplit(':').next().unwrap().trim().parse().unwrap()
            };
            let [outer, inner] = ["reflexive addr", "Local addr"].map(port);
            outer == inner
        });
        assert_eq!(all_kept, kept, "{preset:?}");
    }
}

#[test]
fn a_neighbour_reaches_a_mapping_from_within_where_the_preset_says_so() {
    let judged = Judged::start();
    // By default what comes from within is filtered like what comes from the world.
    for (preset, hairpins) in [
        (Preset::Rfc, false),
        (Preset::FullCone, true),
        (Preset::Cgnat, true),
        (Preset::Cloud, false),
        (Preset::Symmetric, false),
    ] {
        judged.set(|set| set.preset = Some(preset));
        for server in &judged.servers {
            let report = server.discover(&judged.container.ns, &["-H"]);
            let received = report.contains("successful hairpinning");
            assert_eq!(received, hairpins, "{preset:?}: {report}");
        }
    }
}
