//! The one writer: the state, what serves it, and the one way to change it.
//!
//! A change is begun, which puts it into the state and the state file, and then either published
//! or taken back:
//!
//! ```text
//!   begin(change)? ──> Begun ──> what else must succeed ──┬──> publish(begun)   frames follow it
//!        refused: nothing happened                        └──> revert(begun)    as it was before
//! ```
//! The file is written before a frame follows the change: a daemon that is killed at any moment
//! remembers everything that was ever in force.
//!
//! Readers never wait for it: after each change it shows them a [`Snapshot`].

use super::datapath::Kernel;
use super::host_links::HostLinks;
use super::open::OpenPort;
use super::refuse::{refused, unavailable};
use super::removals::Removals;
use super::servers::Servers;
use super::snapshot::Snapshot;
use super::survival::{Survival, Survivors};
use crate::config::Config;
use crate::listeners::Listeners;
use crate::store::{Remembered, Revision, Store, StoreError};
use api::{ApiError, Counters};
use arc_swap::ArcSwap;
use control::reconcile::upkeep;
use control::{Change, Live, PublicationId, State, UplinkFacts};
use dataplane::{Dataplane, Event};
use nat::{Gap, Router};
use pipeline::PortId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use switch::Topology;

/// Everything that changes, and what it takes to change it.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) state: Arc<State>,
    pub(super) live: Live,
    /// What the host says of its uplinks.
    pub(super) facts: UplinkFacts,
    /// The programs in the kernel.
    pub(super) kernel: Kernel,
    /// What there is of it in the kernel.
    pub(super) host_links: HostLinks,
    /// The host's own ports that are published.
    pub(super) listeners: BTreeMap<PublicationId, Listeners>,
    /// Who answers for names.
    pub(super) servers: Servers,
    /// Connections, neighbours, pieces of packets.
    pub(super) nat: Arc<nat::Live>,
    /// The configuration of the published router; `None` before there is one of ours.
    routed: Option<nat::Config>,
    /// The router that every connection was judged by last; `None` when some were never judged.
    judged: Option<Arc<Router>>,
    pub(super) dataplane: Arc<Dataplane>,
    store: Box<dyn Store>,
    /// Of the state.
    revision: Revision,
    /// The last change that the store may remember beside the state.
    changed: Option<Instant>,
    /// Whether what was remembered is of another run of the kernel.
    pub(super) rebooted: bool,
    /// Where connections are kept for the next daemon.
    pub(super) survival: Arc<Survival>,
    /// Those of the last one, until there is a router that they fit into.
    pub(super) survivors: Survivors,
    /// Interfaces that are being removed.
    pub(super) removals: Removals,
    /// One for each port of the state.
    pub(super) open: BTreeMap<PortId, OpenPort>,
    /// What ports counted that are no more.
    pub(super) past: Counters,
    /// What needs a person's attention.
    pub(super) warnings: Vec<String>,
    started: Instant,
    stopped: bool,
    /// The snapshot that readers take.
    shown: Arc<ArcSwap<Snapshot>>,
}

/// A change that is in the state and in its file, and not yet in force.
#[must_use = "publish it or revert it"]
pub(super) struct Begun {
    picture: Picture,
    undo: Change,
}

/// The state as frames are to see it.
struct Picture {
    topology: Topology,
    router: Arc<Router>,
    routed: nat::Config,
}

impl Writer {
    /// Starts the workers, and takes up again what the state directory remembers.
    pub(super) fn start(config: &Config, remembered: Remembered) -> Result<Self, ApiError> {
        let [seed, secret] = random()?;
        let Remembered {
            store,
            state,
            revision,
            boot,
            rebooted,
            warnings,
        } = remembered;
        let mut settings = dataplane::Config::default();
        if let Some(workers) = config.workers {
            settings.workers = workers.into();
        }
        if let Some(spin) = config.spin_microseconds {
            settings.spin = Duration::from_micros(spin.into());
        }
        if let Some(nice) = config.nice {
            settings.nice = nice.into();
        }
        let dataplane = Dataplane::start(settings)
            .map_err(|error| unavailable("cannot start the workers", &error))?;
        let (dataplane, started) = (Arc::new(dataplane), Instant::now());
        let survival = Survival::new(&config.state_dir, &boot);
        let mut writer = Self {
            state: Arc::new(state.unwrap_or_else(|| State::new(seed))),
            live: Live::new(secret),
            facts: UplinkFacts::default(),
            kernel: Kernel::start(config),
            host_links: HostLinks::default(),
            listeners: BTreeMap::new(),
            servers: Servers::start(),
            nat: Arc::new(nat::Live::new(nat::Live::CAPACITY, secret)),
            routed: None,
            judged: None,
            dataplane: Arc::clone(&dataplane),
            store,
            revision,
            changed: Some(started),
            rebooted,
            survival: Arc::new(survival),
            survivors: Survivors::default(),
            removals: Removals::default(),
            open: BTreeMap::new(),
            past: Counters::default(),
            warnings,
            started,
            stopped: false,
            shown: Arc::new(ArcSwap::from_pointee(Snapshot::empty(dataplane, started))),
        };
        if let Some(warning) = writer.kernel.warning() {
            writer.warn(warning);
        }
        writer.restore()?;
        writer.survivors = writer.survivors();
        writer.arrange()?;
        writer.write_survivors(Gap::Unseen);
        writer.show();
        Ok(writer)
    }

    /// Returns where what is shown stands, for readers that never wait for a change.
    pub(super) fn shown(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.shown)
    }

    /// Lets readers see everything as it is now.
    pub(super) fn show(&self) -> Arc<Snapshot> {
        let status = |(id, open): (&PortId, &OpenPort)| (*id, Arc::clone(&open.status));
        let snapshot = Arc::new(Snapshot {
            state: Arc::clone(&self.state),
            facts: self.facts.clone(),
            down: self.host_links.down().clone(),
            datapath: self.kernel.status(),
            ports: self.open.iter().map(status).collect(),
            past: self.past.clone(),
            warnings: self.warnings.clone(),
            dataplane: Arc::clone(&self.dataplane),
            started: self.started,
        });
        self.shown.store(Arc::clone(&snapshot));
        snapshot
    }

    /// Changes the state alone. Returns what takes it back.
    pub(super) fn commit(&mut self, change: Change) -> Change {
        Arc::make_mut(&mut self.state).commit(change)
    }

    /// Makes the change and remembers it, or does nothing at all.
    pub(super) fn begin(&mut self, change: Change) -> Result<Begun, ApiError> {
        let made = change.clone();
        let undo = self.commit(change);
        let begun = match self.picture() {
            Ok(picture) => Begun { picture, undo },
            Err(error) => {
                self.take_back(undo);
                return Err(error);
            }
        };
        match self.remember(&made) {
            Ok(()) => Ok(begun),
            Err(error) => {
                self.take_back(begun.undo);
                Err(ApiError::unavailable(format!(
                    "{error}; nothing was changed"
                )))
            }
        }
    }

    /// Puts a change that was just made into the store.
    fn remember(&mut self, change: &Change) -> Result<(), StoreError> {
        self.revision = self.store.commit(self.revision, change, &self.state)?;
        self.changed = Some(Instant::now());
        Ok(())
    }

    /// Has the store forget what is no longer in the state, once changes have ceased for a while.
    pub(super) fn tidy_store(&mut self) {
        let is_quiet = self.changed.is_some_and(|at| at.elapsed() >= QUIET);
        if is_quiet {
            self.fold_store();
        }
    }

    fn fold_store(&mut self) {
        self.changed = None;
        if let Err(error) = self.store.fold(&self.state) {
            tracing::warn!(%error, "the state file keeps what was removed");
        }
    }

    /// Puts the state as it is into the store, whatever is there.
    pub(super) fn remember_all(&mut self) -> Result<(), StoreError> {
        self.revision = self.store.replace(self.revision, &self.state)?;
        Ok(())
    }

    /// Lets frames follow the change, and lets go of what nobody wants any more: a reader who sees no
    /// publication may take its port.
    pub(super) fn publish(&mut self, begun: Begun) {
        self.show_frames(begun.picture);
        let actions = upkeep(&self.state, &self.held());
        // None of them can fail.
        let _ = self.carry_out(&actions);
        self.lead_listeners();
    }

    fn show_frames(&mut self, picture: Picture) {
        let Picture {
            topology,
            router,
            routed,
        } = picture;
        self.publish_names();
        self.dataplane.publish(Arc::new(topology), router);
        self.routed = Some(routed);
    }

    /// Makes everything as it was before the change was begun.
    pub(super) fn revert(&mut self, begun: Begun) {
        let undo = begun.undo.clone();
        self.take_back(begun.undo);
        if let Err(error) = self.remember(&undo) {
            // The file now remembers what is not there; the next start finds out and says so.
            self.warn(format!(
                "{error}: a change that was taken back is still in the state file"
            ));
        }
    }

    /// Begins and publishes a change that needs nothing else to succeed, and waits until no frame
    /// follows what was before.
    pub(super) fn change(&mut self, change: Change) -> Result<(), ApiError> {
        let begun = self.begin(change)?;
        self.publish(begun);
        self.settle();
        self.arrange()
    }

    /// Ends what belongs to an older picture, once no frame follows one.
    fn settle(&mut self) {
        self.dataplane.sync();
        self.live.settle(&self.state);
        let (router, now) = (self.dataplane.router(), self.dataplane.now());
        let revoked = match self.judged.replace(Arc::clone(&router)) {
            Some(before) => router.revoke_since(&before, now),
            None => router.revoke(now),
        };
        if revoked > 0 {
            tracing::info!(revoked, "connections that may no longer be");
        }
    }

    /// Publishes the state as it stands.
    pub(super) fn publish_state(&mut self) -> Result<(), ApiError> {
        let picture = self.picture()?;
        let survivors = std::mem::take(&mut self.survivors);
        if !survivors.connections.is_empty() {
            survivors.import(&picture.router, self.dataplane.now());
            self.judged = None;
        }
        self.show_frames(picture);
        self.settle();
        Ok(())
    }

    /// The state as frames are to see it. The router is made anew when it is to be another one.
    fn picture(&mut self) -> Result<Picture, ApiError> {
        let topology = self
            .live
            .topology(&self.state, &self.facts)
            .map_err(|error| refused(&error))?;
        let routed = Live::router_config(&self.state, &self.facts);
        let router = if self.routed.as_ref() == Some(&routed) {
            self.dataplane.router()
        } else {
            let made = Router::new(routed.clone(), Arc::clone(&self.nat));
            Arc::new(made.map_err(|error| ApiError::invalid(error.to_string()))?)
        };
        Ok(Picture {
            topology,
            router,
            routed,
        })
    }

    fn take_back(&mut self, undo: Change) {
        let _ = self.commit(undo);
        if let Err(error) = self.live.topology(&self.state, &self.facts) {
            // The tables held these very entries a moment ago.
            self.warn(format!("a change could not be taken back whole: {error}"));
        }
    }

    /// Notes a trouble for `status` and the log. The list is bounded: the oldest makes room.
    pub(super) fn warn(&mut self, warning: String) {
        tracing::warn!("{warning}");
        if self.warnings.len() >= MAX_WARNINGS {
            self.warnings.remove(0);
        }
        self.warnings.push(warning);
    }

    /// Takes note of what happened in the dataplane.
    pub(super) fn handle_events(&mut self) {
        let events: Vec<Event> = self.dataplane.events().try_iter().collect();
        for Event::PortDied { port, why } in events {
            self.port_died(port, &why);
        }
    }

    /// Stops the workers. Persistent interfaces stay, without carrier, for the next daemon.
    pub(super) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.dataplane.leave_leases();
        self.leave_host();
        for id in self.open.keys() {
            self.dataplane.remove_port(*id);
        }
        self.open.clear();
        self.write_survivors(Gap::Silent);
        self.fold_store();
    }
}

/// After this long without a change the store forgets those that led to the state.
const QUIET: Duration = Duration::from_secs(5);
/// Warnings kept at most.
const MAX_WARNINGS: usize = 50;

fn random() -> Result<[u64; 2], ApiError> {
    let number = || getrandom::u64();
    let numbers = number().and_then(|seed| Ok([seed, number()?]));
    numbers.map_err(|error| unavailable("cannot get random numbers", &error))
}
