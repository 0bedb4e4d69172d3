//! The state, what serves it, and the one way to change it.
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

use super::connections::Watchers;
use super::host_links::HostLinks;
use super::open::OpenPort;
use super::refuse::{refused, unavailable};
use super::servers::Servers;
use super::store::Store;
use super::survival::{Survival, Survivors};
use super::tally;
use crate::config::Config;
use crate::listeners::Listeners;
use api::{ApiError, Counters};
use control::{Change, Live, PublicationId, State, UplinkFacts};
use dataplane::{Dataplane, Event};
use nat::{Gap, Router};
use pipeline::PortId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use switch::Topology;

/// Everything the daemon knows.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) state: State,
    pub(super) live: Live,
    /// What the host says of its uplinks.
    pub(super) facts: UplinkFacts,
    /// What there is of it in the kernel.
    pub(super) host_links: HostLinks,
    /// The host's own ports that are published.
    pub(super) listeners: BTreeMap<PublicationId, Listeners>,
    /// Who follows connections.
    pub(super) watchers: Watchers,
    /// Who answers for names.
    pub(super) servers: Servers,
    /// Connections, neighbours, pieces of packets.
    pub(super) nat: Arc<nat::Live>,
    pub(super) dataplane: Dataplane,
    pub(super) store: Store,
    /// Where connections are kept for the next daemon.
    pub(super) survival: Arc<Survival>,
    /// Those of the last one, until there is a router that they fit into.
    pub(super) survivors: Survivors,
    /// One for each port of the state.
    pub(super) open: BTreeMap<PortId, OpenPort>,
    /// What ports counted that are no more.
    pub(super) past: Counters,
    /// What needs a person's attention.
    pub(super) warnings: Vec<String>,
    pub(super) started: Instant,
    stopped: bool,
}

/// A change that is in the state and in its file, and not yet in force.
#[must_use = "publish it or revert it"]
pub(super) struct Begun {
    topology: Topology,
    router: Router,
    undo: Change,
}

impl Core {
    /// Starts the workers, and takes up again what the state directory remembers.
    pub(super) fn start(config: &Config) -> Result<Self, ApiError> {
        let [seed, secret] = random()?;
        let (store, loaded, warnings) = Store::open(&config.state_dir, || State::new(seed))?;
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
        let survival = Survival::new(&config.state_dir, &store.boot);
        let mut core = Self {
            state: loaded,
            live: Live::new(secret),
            facts: UplinkFacts::default(),
            host_links: HostLinks::default(),
            listeners: BTreeMap::new(),
            watchers: Watchers::default(),
            servers: Servers::start(),
            nat: Arc::new(nat::Live::new(nat::Live::CAPACITY, secret)),
            dataplane,
            store,
            survival: Arc::new(survival),
            survivors: Survivors::default(),
            open: BTreeMap::new(),
            past: Counters::default(),
            warnings,
            started: Instant::now(),
            stopped: false,
        };
        core.restore()?;
        core.survivors = core.survivors();
        core.arrange()?;
        core.write_survivors(Gap::Unseen);
        Ok(core)
    }

    /// Makes the change and remembers it, or does nothing at all.
    pub(super) fn begin(&mut self, change: Change) -> Result<Begun, ApiError> {
        let undo = self.state.commit(change);
        let begun = match self.picture() {
            Ok((topology, router)) => Begun {
                topology,
                router,
                undo,
            },
            Err(error) => {
                self.take_back(undo);
                return Err(error);
            }
        };
        match self.store.write(&self.state) {
            Ok(()) => Ok(begun),
            Err(error) => {
                self.take_back(begun.undo);
                Err(ApiError::unavailable(format!(
                    "{error}; nothing was changed"
                )))
            }
        }
    }

    /// Lets frames follow the change.
    pub(super) fn publish(&mut self, begun: Begun) {
        let Begun {
            topology, router, ..
        } = begun;
        self.publish_names();
        self.dataplane.publish(Arc::new(topology), Arc::new(router));
    }

    /// Makes everything as it was before the change was begun.
    pub(super) fn revert(&mut self, begun: Begun) {
        self.take_back(begun.undo);
        if let Err(error) = self.store.write(&self.state) {
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
        let revoked = self.dataplane.view().router.revoke(self.dataplane.now());
        if revoked > 0 {
            tracing::info!(revoked, "connections that may no longer be");
        }
    }

    /// Publishes the state as it stands.
    pub(super) fn publish_state(&mut self) -> Result<(), ApiError> {
        let (topology, router) = self.picture()?;
        let survivors = std::mem::take(&mut self.survivors);
        survivors.import(&router, self.dataplane.now());
        self.publish_names();
        self.dataplane.publish(Arc::new(topology), Arc::new(router));
        self.settle();
        Ok(())
    }

    /// The state as frames are to see it.
    fn picture(&mut self) -> Result<(Topology, Router), ApiError> {
        let topology = self
            .live
            .topology(&self.state, &self.facts)
            .map_err(|error| refused(&error))?;
        let config = Live::router_config(&self.state, &self.facts);
        let router = Router::new(config, Arc::clone(&self.nat))
            .map_err(|error| ApiError::invalid(error.to_string()))?;
        Ok((topology, router))
    }

    fn take_back(&mut self, undo: Change) {
        let _ = self.state.commit(undo);
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
        self.leave_host();
        for id in self.open.keys() {
            self.dataplane.remove_port(*id);
        }
        self.open.clear();
        self.give_back_all();
        self.write_survivors(Gap::Silent);
    }

    /// Adds what a port counted that is about to be closed to `into`.
    pub(super) fn counted(&self, id: PortId) -> Counters {
        let mut counters = self
            .open
            .get(&id)
            .map_or_else(Counters::default, |open| open.earlier.clone());
        if let Some(totals) = self.dataplane.counters(id) {
            tally::add_totals(&mut counters, &totals);
        }
        counters
    }
}

/// Warnings kept at most.
const MAX_WARNINGS: usize = 50;

fn random() -> Result<[u64; 2], ApiError> {
    let number = || getrandom::u64();
    let numbers = number().and_then(|seed| Ok([seed, number()?]));
    numbers.map_err(|error| unavailable("cannot get random numbers", &error))
}
