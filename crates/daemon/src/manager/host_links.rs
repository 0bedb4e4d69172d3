//! The router's links that are no networks of containers (uplinks, the host's stack, our servers),
//! and the one round in which everything of the kernel's is made to be as the state wants it.
//!
//! ```text
//!   observe ──> reconcile (control) ──> carry out ──> observe ──> facts ──> router
//! ```
//! Arranging is idempotent and may be asked for at any time: after a change of the state, when the
//! host's network changed, after a restart. What cannot be had is noted for `status` and tried again.

use super::writer::Writer;
use api::ApiError;
use control::reconcile::{self, Captures, Plan, Way, departure};
use control::{Action, Attachment, Change, Hidden, Uplink, UplinkFacts};
use host::{GatewayPort, Links, Monitor, NamespaceRef, Netns};
use pipeline::PortId;
use std::collections::{BTreeMap, BTreeSet};
use wire::MacAddr;

/// What there is of it.
#[derive(Debug, Default)]
pub(super) struct HostLinks {
    pub(super) uplinks: BTreeMap<String, OpenUplink>,
    /// Why the others are down.
    down: BTreeMap<String, String>,
    host: Option<OpenStack>,
    services: Option<OpenStack>,
    /// What was noted last, so that a trouble that stays is told once.
    troubles: Vec<String>,
    /// Whether the host's network has changed since the last look.
    pub(super) changed: bool,
    /// Tells that it has.
    monitor: Option<Monitor>,
}

#[derive(Debug)]
pub(super) struct OpenUplink {
    pub(super) link: host::Uplink,
    pub(super) uplink: Uplink,
    pub(super) captures: Captures,
}

/// A link to a stack.
#[derive(Debug)]
pub(super) struct OpenStack {
    /// The namespace that the daemon's servers have to themselves; the host's stack is in our own.
    pub(super) netns: Option<host::Private>,
    pub(super) link: GatewayPort,
    pub(super) ways: BTreeSet<Way>,
    pub(super) place: Attachment,
}

impl HostLinks {
    /// Returns why uplinks are down, by name.
    pub(super) fn down(&self) -> &BTreeMap<String, String> {
        &self.down
    }

    pub(super) fn stack(&self, which: Hidden) -> Option<&OpenStack> {
        match which {
            Hidden::Host => self.host.as_ref(),
            Hidden::Services => self.services.as_ref(),
        }
    }

    pub(super) fn stack_mut(&mut self, which: Hidden) -> &mut Option<OpenStack> {
        match which {
            Hidden::Host => &mut self.host,
            Hidden::Services => &mut self.services,
        }
    }

    /// The ports of all links.
    pub(super) fn ports(&self) -> impl Iterator<Item = PortId> + '_ {
        let uplinks = self.uplinks.values().map(|open| open.uplink.place.port);
        let stacks = self.host.iter().chain(&self.services);
        uplinks.chain(stacks.map(|open| open.place.port))
    }
}

impl OpenStack {
    /// Does work where the stack's interface is.
    pub(super) fn run<T: Send>(
        &self,
        work: impl FnOnce(&Links) -> Result<T, host::Error> + Send,
    ) -> Result<T, host::Error> {
        match &self.netns {
            Some(netns) => netns.run(|inside| work(&inside.links()?)),
            None => Netns::with_own_links(work),
        }
    }
}

impl Writer {
    /// Makes everything in the kernel be as the state wants it, and lets frames follow.
    pub(super) fn arrange(&mut self) -> Result<(), ApiError> {
        self.make_places()?;
        let mut troubles = Vec::new();
        let facts = match self.make_as_desired(&mut troubles) {
            Ok(facts) => facts,
            Err(error) => {
                troubles.push(error.to_string());
                UplinkFacts::default()
            }
        };
        let before = std::mem::replace(&mut self.facts, facts);
        for trouble in &troubles {
            if !self.host_links.troubles.contains(trouble) {
                self.warn(trouble.clone());
            }
        }
        self.host_links.troubles = troubles;
        if self.facts == before && self.survivors.connections.is_empty() {
            return Ok(());
        }
        self.publish_state()
    }

    /// Arranges anew when the host's network has changed, or something could not be had.
    pub(super) fn follow_host(&mut self) {
        let changed = match &mut self.host_links.monitor {
            Some(monitor) => monitor.has_changed().unwrap_or(true),
            // Whatever was before it listened is unheard.
            None => {
                self.host_links.monitor = listen();
                self.host_links.monitor.is_some()
            }
        };
        self.host_links.changed |= changed;
        if (changed || !self.host_links.troubles.is_empty())
            && let Err(error) = self.arrange()
        {
            self.warn(error.message);
        }
    }

    /// Takes everything away that is outside of containers and of our own namespace: for a clean end.
    pub(super) fn leave_host(&mut self) {
        match self.observe() {
            Ok(observed) => {
                for (action, why) in self.carry_out(&departure(&observed)) {
                    self.warn(format!("{action}: {why}"));
                }
            }
            Err(error) => self.warn(error.to_string()),
        }
    }

    /// Gives the host's stack and the servers a place in the state while a network wants them.
    fn make_places(&mut self) -> Result<(), ApiError> {
        let change = reconcile::places(&self.state);
        if change == Change::Nothing {
            return Ok(());
        }
        let begun = self.begin(change)?;
        self.publish(begun);
        self.dataplane.sync();
        Ok(())
    }

    fn make_as_desired(&mut self, troubles: &mut Vec<String>) -> Result<UplinkFacts, host::Error> {
        let mut observed = self.observe()?;
        let Plan { actions, mut down } = control::reconcile(&self.state, &observed);
        let failed = self.carry_out(&actions);
        // What could not be put back is looked for again.
        let is_bare = |(action, _): &(Action, String)| matches!(action, Action::PutPrograms(_));
        self.host_links.changed = failed.iter().any(is_bare);
        let told = |(name, why): (&String, &String)| format!("uplink {name} is down: {why}");
        troubles.extend(down.iter().map(told));
        for (action, why) in failed {
            troubles.push(format!("{action}: {why}"));
            if let Action::OpenUplink(Uplink { name, .. }, _) | Action::Capture(name, _) = action {
                down.insert(name, why);
            }
        }
        self.host_links.down = down;
        if !actions.is_empty() {
            observed = self.observe()?;
        }
        Ok(reconcile::facts(&self.state, &observed))
    }
}

fn listen() -> Option<Monitor> {
    let runtime = tokio::runtime::Handle::current();
    let own = Netns::find(NamespaceRef::Own).ok()?;
    own.run(|inside| Monitor::open(inside, &runtime)).ok()
}

pub(super) fn mac_of(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}
