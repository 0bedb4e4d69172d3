//! The one table of who may use whom. ARCHITECTURE.md draws it; this is what is checked.

/// What a crate may do besides computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No I/O, no thread, no clock outside its tests.
    Pure,
    /// Talks to the kernel or the network.
    Shell,
    /// Words and client of the API: neither pure nor part of the datapath.
    Words,
    /// Tests, benches, chores: nothing that ships depends on it, the lab's testbed excepted.
    Dev,
}

/// One crate of the workspace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Its package name.
    pub(super) package: &'static str,
    /// What it may do.
    pub(super) kind: Kind,
    /// The workspace packages its normal and build dependencies may name.
    pub(super) may_use: &'static [&'static str],
    /// The workspace packages that not even its dev-dependencies may name.
    pub(super) never: &'static [&'static str],
}

const WIRE: &str = "clearway-wire";
const MODEL: &str = "clearway-model";
const PIPELINE: &str = "clearway-pipeline";
const OBSERVE: &str = "clearway-observe";
const SWITCH: &str = "clearway-switch";
const NAT: &str = "clearway-nat";
const PORT: &str = "clearway-port";
const DATAPLANE: &str = "clearway-dataplane";
const CONTROL: &str = "clearway-control";
const CAPTURE: &str = "clearway-capture";
const HOST: &str = "clearway-host";
const NAMES: &str = "clearway-names";
const API: &str = "clearway-api";
const DOCKER: &str = "clearway-docker";
const DAEMON: &str = "clearway-daemon";
const CLI: &str = "clearway-cli";
const LAB: &str = "clearway-lab";
const CLEARWAY: &str = "clearway";
const TESTBED: &str = "clearway-testbed";
const BPF: &str = "clearway-bpf";
const LEASE: &str = "clearway-lease";
const LOADER: &str = "clearway-loader";
const OFFLOAD: &str = "clearway-offload";
const SIM: &str = "clearway-sim";
const BENCHES: &str = "clearway-benches";
const FUZZ: &str = "clearway-fuzz";
const TESTS: &str = "clearway-tests";
const XTASK: &str = "xtask";

const fn rule(package: &'static str, kind: Kind, may_use: &'static [&'static str]) -> Rule {
    Rule {
        package,
        kind,
        may_use,
        never: &[],
    }
}

/// Every crate of the workspace; one that is missing here fails the check.
pub(super) const RULES: &[Rule] = &[
    rule(WIRE, Kind::Pure, &[]),
    rule(MODEL, Kind::Pure, &[WIRE]),
    rule(PIPELINE, Kind::Pure, &[WIRE]),
    rule(OBSERVE, Kind::Pure, &[WIRE, MODEL, PIPELINE]),
    Rule {
        package: SWITCH,
        kind: Kind::Pure,
        may_use: &[WIRE, MODEL, PIPELINE],
        never: &[NAT],
    },
    Rule {
        package: NAT,
        kind: Kind::Pure,
        may_use: &[WIRE, MODEL, PIPELINE],
        never: &[SWITCH],
    },
    rule(CONTROL, Kind::Pure, &[WIRE, MODEL, PIPELINE, SWITCH, NAT]),
    rule(BPF, Kind::Pure, &[]),
    rule(LEASE, Kind::Pure, &[WIRE, PIPELINE, NAT, BPF]),
    rule(LOADER, Kind::Shell, &[BPF]),
    rule(OFFLOAD, Kind::Shell, &[BPF, LEASE, LOADER]),
    rule(CAPTURE, Kind::Shell, &[]),
    rule(PORT, Kind::Shell, &[WIRE, PIPELINE, CAPTURE]),
    rule(
        DATAPLANE,
        Kind::Shell,
        &[WIRE, PIPELINE, OBSERVE, SWITCH, NAT, PORT, LEASE],
    ),
    rule(HOST, Kind::Shell, &[]),
    rule(NAMES, Kind::Shell, &[]),
    rule(API, Kind::Words, &[MODEL]),
    rule(DOCKER, Kind::Shell, &[API]),
    rule(
        DAEMON,
        Kind::Shell,
        &[
            WIRE, PIPELINE, OBSERVE, SWITCH, NAT, PORT, DATAPLANE, CONTROL, HOST, NAMES, API,
            DOCKER, LEASE, OFFLOAD,
        ],
    ),
    rule(CLI, Kind::Words, &[API, CAPTURE]),
    rule(LAB, Kind::Shell, &[WIRE, API, HOST, TESTBED]),
    rule(CLEARWAY, Kind::Shell, &[API, DATAPLANE, DAEMON, CLI, LAB]),
    rule(TESTBED, Kind::Dev, &[]),
    rule(
        SIM,
        Kind::Dev,
        &[WIRE, PIPELINE, SWITCH, NAT, PORT, DATAPLANE, CONTROL],
    ),
    rule(
        BENCHES,
        Kind::Dev,
        &[
            WIRE, PIPELINE, OBSERVE, SWITCH, NAT, PORT, DATAPLANE, CONTROL, SIM,
        ],
    ),
    rule(
        TESTS,
        Kind::Dev,
        &[
            WIRE, PIPELINE, OBSERVE, SWITCH, NAT, PORT, DATAPLANE, CONTROL, HOST, API, DAEMON, SIM,
            TESTBED, BPF, LEASE, LOADER, OFFLOAD,
        ],
    ),
    rule(
        FUZZ,
        Kind::Dev,
        &[WIRE, PIPELINE, SWITCH, NAT, PORT, DATAPLANE],
    ),
    rule(XTASK, Kind::Dev, &[API, TESTBED]),
];

/// The order of a crate's top-level modules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers {
    /// The crate.
    pub(super) package: &'static str,
    /// Groups of modules, the lowest first: a module uses those of its own group and of lower ones.
    pub(super) groups: &'static [&'static [&'static str]],
}

/// The crates whose modules have an order. At no level of their tree is there a cycle but those of
/// [`KNOWN_CYCLES`]; in the other crates that holds for top-level modules.
pub(super) const LAYERS: &[Layers] = &[
    Layers {
        package: PORT,
        groups: &[
            &["error", "lost", "name", "sys"],
            &["memory", "packet", "pcap", "tap"],
        ],
    },
    // Words; records; all of them at one moment; requests about them; what is made of them.
    Layers {
        package: CONTROL,
        groups: &[
            &["error", "facts", "hash", "plan", "stored"],
            &["attachment", "desired", "model", "placed", "publication"],
            &["change", "ipam", "state"],
            &[
                "attach",
                "check",
                "file",
                "interface",
                "join",
                "network",
                "policy",
                "port",
                "publish",
                "routing",
                "statics",
                "uplink",
            ],
            &["live", "named", "reconcile", "router"],
        ],
    },
    // What is configured and what a packet is; NAT; the router above it.
    Layers {
        package: NAT,
        groups: &[
            &[
                "arrival", "config", "due", "flow", "outbox", "rewrite", "routes", "tcp", "tuple",
            ],
            &[
                "fragments",
                "icmp",
                "nptv6",
                "ports",
                "published",
                "table",
                "translate",
            ],
            &[
                "bridge",
                "gateway",
                "interface",
                "leave",
                "martian",
                "policy",
                "relate",
                "repeat",
                "revoke",
                "route",
                "router",
                "suppose",
            ],
        ],
    },
];

/// Top-level modules that use each other in a circle. Below them there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownCycle {
    /// The crate.
    pub(super) package: &'static str,
    /// Every module of the circle.
    pub(super) modules: &'static [&'static str],
}

/// The circles that are there, to be shrunk: no other is allowed, and one that is gone must go from
/// here.
pub(super) const KNOWN_CYCLES: &[KnownCycle] = &[
    known(
        WIRE,
        &[
            "arp",
            "ethernet",
            "headers",
            "icmp",
            "ipv4",
            "ipv6",
            "transport",
        ],
    ),
    known(SWITCH, &["egress", "forward", "rate", "topology"]),
    known(CLI, &["endpoint", "port"]),
    known(DOCKER, &["error", "ipam", "portmap"]),
    known(DOCKER, &["look", "names"]),
    known(LAB, &["contest", "lab", "scenes"]),
    known(SIM, &["app", "host"]),
];

const fn known(package: &'static str, modules: &'static [&'static str]) -> KnownCycle {
    KnownCycle { package, modules }
}

/// Crates.io packages that do I/O, keep time or start threads: no pure crate depends on one.
pub(super) const IMPURE_PACKAGES: &[&str] = &[
    "axum",
    "crossbeam",
    "libc",
    "nix",
    "reqwest",
    "rtnetlink",
    "socket2",
    "tempfile",
    "tokio",
    "tracing",
    "tun-tap",
];

/// Paths that a pure crate does not name outside its tests. `std::net` is allowed for its
/// addresses; its sockets are told by their type names.
pub(super) const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Names that a pure crate does not use outside its tests, wherever they come from.
pub(super) const IMPURE_NAMES: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
];

/// Calls that a pure crate does not make outside its tests.
pub(super) const IMPURE_CALLS: &[&str] = &["Instant::now", "SystemTime::now"];

/// The longest source file, in lines.
pub(super) const MAX_LINES: usize = 900;
