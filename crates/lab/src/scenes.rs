//! What is shown, one file each, in this order.
//!
//! A scene adds what it finds out to a finding as it goes; what it had found when it could not go
//! on is shown all the same. Scenes leave the stage as they found it, the table of learned
//! addresses and the counters excepted: so each looks at how far a counter *rose*.

mod cleanup;
mod explain;
mod ping;
mod speed;
mod spoof;
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

/// The scenes that show something.
pub(crate) const SCENES: [Scene; 5] = [
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
];

/// The last scene, which takes the stage away.
pub(crate) const CLEANUP: Scene = Scene {
    name: "cleanup",
    title: "taking it all down",
    run: cleanup::run,
};
