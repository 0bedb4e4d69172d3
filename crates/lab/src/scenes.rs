//! The scenes that are shown, one file each, in this order.
//!
//! A scene adds what it finds out to a finding as it goes; what it had found when it could not go
//! on is shown all the same. Scenes leave the stage as they found it, the table of learned
//! addresses, connections and the counters excepted: so each looks at how far a counter *rose*. One
//! adds to the stage: the uplink's, which those after it stand on.

mod cleanup;
mod explain;
mod hairpin;
mod isolation;
mod masquerade;
mod names;
mod nat_speed;
mod ping;
mod published;
mod speed;
mod spoof;
mod traceroute;
mod translated;
mod uplink;
mod vlan;

use crate::finding::Finding;
use crate::lab::Stage;
use anyhow::Result;

/// Something to be shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// For machines.
    pub(crate) name: &'static str,
    /// For a person.
    pub(crate) title: &'static str,
    /// Finds out.
    pub(crate) run: fn(&Stage, &mut Finding) -> Result<()>,
}

/// Scenes that show the switch, the names and the gateway, and lead to the world.
pub(crate) const INSIDE: [Scene; 8] = [
    Scene {
        name: "ping",
        title: "containers reach each other",
        run: ping::run,
    },
    Scene {
        name: "speed",
        title: "how fast",
        run: speed::run,
    },
    Scene {
        name: "vlan",
        title: "a VLAN isolates",
        run: vlan::run,
    },
    Scene {
        name: "spoof",
        title: "mal pretends to be ann, and is dropped by name",
        run: spoof::run,
    },
    Scene {
        name: "explain",
        title: "what becomes of a frame, and why",
        run: explain::run,
    },
    Scene {
        name: "names",
        title: "the gateway knows containers by name",
        run: names::run,
    },
    Scene {
        name: "isolation",
        title: "two networks do not reach each other",
        run: isolation::run,
    },
    Scene {
        name: "uplink",
        title: "the host's NIC is shared, and behind it is the world",
        run: uplink::run,
    },
];

/// Scenes that need a world outside.
pub(crate) const OUTSIDE: [Scene; 6] = [
    Scene {
        name: "masquerade",
        title: "the world takes a container for the host",
        run: masquerade::run,
    },
    Scene {
        name: "published",
        title: "the world calls a container, which sees who calls",
        run: published::run,
    },
    Scene {
        name: "hairpin",
        title: "a container calls another's published port",
        run: hairpin::run,
    },
    Scene {
        name: "traceroute",
        title: "the way to the world, hop by hop",
        run: traceroute::run,
    },
    Scene {
        name: "translated",
        title: "what becomes of a packet for the world, and why",
        run: translated::run,
    },
    Scene {
        name: "nat_speed",
        title: "how fast through NAT",
        run: nat_speed::run,
    },
];

/// The last scene, which takes the stage away.
pub(crate) const CLEANUP: Scene = Scene {
    name: "cleanup",
    title: "taking it all down",
    run: cleanup::run,
};
