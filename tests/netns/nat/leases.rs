//! Addresses that containers ask for: DHCP clients, and the kernel's own stack that hears router
//! advertisements.

use super::{Outside, WORLD, gateway, settled};
use crate::fixture::{Container, SOON, name};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use testbed::traffic::{Ping, ping};
use testbed::{Child, Namespace, wait_until};

/// What a DHCP client tells its script, by the names of its environment.
type Told = BTreeMap<String, String>;

/// A client's files: its script writes what it is told once it has a lease, and configures nothing.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        let (told, script) = (it.path("told"), it.path("script"));
        // The first argument is busybox's word for it, $reason is dhclient's.
        let text = format!(
            "#!/bin/sh\n\
             case \"$1$reason\" in\n\
             bound|BOUND|BOUND6) env > {told}.part && mv {told}.part {told} ;;\n\
             esac\n\
             exit 0\n",
            told = told.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        it
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    /// Returns what the client was told, if it has a lease.
    fn told(&self) -> Option<Told> {
        let text = std::fs::read_to_string(self.path("told")).ok()?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(owned.collect())
    }

    fn udhcpc(&self, ns: &Namespace, more: &[&str]) -> Told {
        let script = self.text("script");
        let mut words = vec!["-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "eth0"];
        words.extend(["-O", "mtu", "-O", "hostname", "-s", &script]);
        words.extend(more);
        ns.output("udhcpc", &words).unwrap();
        self.told().unwrap()
    }

    fn dhclient(&self, ns: &Namespace, family: &str) -> Told {
        let config = "request subnet-mask, routers, domain-name-servers, interface-mtu, host-name;\n\
                      also request dhcp6.name-servers;\n";
        std::fs::write(self.path("config"), config).unwrap();
        std::fs::write(self.path("leases"), "").unwrap();
        let mut client = ns.command("dhclient");
        client.args([family, "-1", "-d", "-cf", &self.text("config")]);
        client.args(["-sf", &self.text("script"), "-lf", &self.text("leases")]);
        client.args(["-pf", &self.text("pid"), "eth0"]);
        let log = std::fs::File::create(self.path("log")).unwrap();
        let _client = Child::spawn(client.stdout(Stdio::null()).stderr(log)).unwrap();
        let leased = wait_until("a lease", SOON, || self.told().is_some());
        leased.unwrap_or_else(|error| {
            let log = std::fs::read_to_string(self.path("log")).unwrap();
            panic!("{error}: {log}");
        });
        self.told().unwrap()
    }
}

/// A container whose interface was emptied of what it was given, in a network that leases.
fn bare(outside: &Outside) -> Container {
    let web = outside.clearway.network_with("web", 1, |network| {
        network.routing.dhcp = true;
        network.mtu = 1400;
    });
    let container = outside
        .clearway
        .container_with(&web, |attach| attach.name = Some(name("db")));
    empty(&container);
    container
}

/// As a machine that was just switched on: the kernel looks for routers.
fn empty(container: &Container) {
    let ns = &container.ns;
    for words in [
        "link set eth0 down",
        "address flush dev eth0",
        "link set eth0 mtu 1500",
        "link set eth0 up",
    ] {
        ns.ip(words).unwrap();
    }
    assert_eq!(ns.ip("route").unwrap(), "");
}

fn is(told: &Told, want: &[(&str, &str)]) {
    for (name, value) in want {
        assert_eq!(
            told.get(*name).map(String::as_str),
            Some(*value),
            "{name} in {told:?}"
        );
    }
}

#[test]
fn udhcpc_is_leased_what_the_endpoint_was_given() {
    let outside = Outside::with_uplink();
    let container = bare(&outside);
    let own = container.ip(0).to_string();
    // Whatever it would rather have.
    for more in [&[][..], &["-r", "10.1.77.77"], &["-B"]] {
        let files = Files::new();
        let told = files.udhcpc(&container.ns, more);
        is(
            &told,
            &[
                ("ip", &own),
                ("mask", "16"),
                ("router", "10.1.0.1"),
                ("dns", "10.1.0.1"),
                ("mtu", "1400"),
                ("hostname", "db"),
                ("serverid", "10.1.0.1"),
            ],
        );
        let ns = &container.ns;
        ns.ip(&format!("address add {own}/16 dev eth0")).unwrap();
        ns.ip("route add default via 10.1.0.1").unwrap();
        container.reaches(WORLD[0]);
        ns.ip("address flush dev eth0 scope global").unwrap();
    }
}

#[test]
fn dhclient_is_leased_both_addresses() {
    let outside = Outside::with_uplink();
    let container = bare(&outside);
    let [v4, v6] = [0, 1].map(|index| container.ip(index).to_string());
    let told = Files::new().dhclient(&container.ns, "-4");
    is(
        &told,
        &[
            ("new_ip_address", &v4),
            ("new_subnet_mask", "255.255.0.0"),
            ("new_routers", "10.1.0.1"),
            ("new_domain_name_servers", "10.1.0.1"),
            ("new_interface_mtu", "1400"),
            ("new_host_name", "db"),
        ],
    );
    settled(&container.ns);
    let told = Files::new().dhclient(&container.ns, "-6");
    let dns = gateway(1)[1].to_string();
    is(
        &told,
        &[("new_ip6_address", &v6), ("new_dhcp6_name_servers", &dns)],
    );

    // The way out is the kernel's to learn, of advertisements that say where addresses are from.
    let ns = &container.ns;
    await_router(ns);
    ns.ip(&format!("address add {v6}/128 dev eth0 nodad"))
        .unwrap();
    container.reaches(WORLD[1]);
    assert_eq!(own_addresses(ns), [v6], "of leases alone");
}

fn await_router(ns: &Namespace) {
    wait_until("a router that says it is one", SOON, || {
        ns.ip("-6 route show default").unwrap().contains("proto ra")
    })
    .unwrap();
}

/// Global IPv6 addresses on the interface.
fn own_addresses(ns: &Namespace) -> Vec<String> {
    let shown = ns.ip("-6 -o address show dev eth0 scope global").unwrap();
    let nets = shown
        .lines()
        .map(|line| line.split_whitespace().nth(3).unwrap());
    nets.map(|net| net.split('/').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_kernel_makes_its_address_of_advertisements() {
    let outside = Outside::with_uplink();
    let web = outside.clearway.network_with("web", 1, |network| {
        network.routing.slaac = true;
        network.mtu = 1400;
    });
    // Its lock lets the address pass that was asked of it.
    let container = outside.clearway.container(&web);
    empty(&container);
    let ns = &container.ns;
    await_router(ns);
    container.reaches(WORLD[1]);
    let own = own_addresses(ns);
    assert!(
        own.len() == 1 && own[0].starts_with("2001:db8:1:"),
        "{own:?}"
    );
    assert_ne!(own[0], container.ip(1).to_string());
    let routes = ns.ip("-6 route show default").unwrap();
    let fields = ["via fe80::", "proto ra", "mtu 1400"];
    assert!(
        fields.iter().all(|field| routes.contains(field)),
        "{routes}"
    );
    // Whoever is told of that address finds it.
    let own = Ping::new(own[0].parse().unwrap());
    assert!(ping(outside.host(), &own).unwrap().is_complete());
}

#[test]
fn nobody_is_told_anything_unless_the_network_says_so() {
    let outside = Outside::start();
    let web = outside.clearway.network("web", 1);
    let container = outside.clearway.container(&web);
    container.reaches(gateway(1)[0]);
    let ns = &container.ns;
    let words = [
        "-f",
        "-q",
        "-n",
        "-t",
        "2",
        "-T",
        "1",
        "-i",
        "eth0",
        "-s",
        "/bin/true",
    ];
    assert!(ns.output("udhcpc", &words).is_err(), "there is no lease");
    let routes = ns.ip("-6 route").unwrap();
    assert!(!routes.contains("proto ra"), "{routes}");
}
