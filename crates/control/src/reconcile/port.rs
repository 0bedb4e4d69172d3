//! Ports and listeners: what this process holds for as long as the state wants it.

use super::{Action, Observed};
use crate::State;
use crate::model::{Endpoint, Port, PortKind};
use crate::publication::{Publication, PublicationId};
use model::Listener;
use pipeline::PortId;
use std::collections::{BTreeMap, BTreeSet};

/// Ports and listeners that this process holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Ports, those of links excepted.
    pub ports: BTreeMap<PortId, PortHeld>,
    /// Publications whose ports of the host are listened to.
    pub listeners: BTreeSet<PublicationId>,
}

/// The thing behind a port that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortHeld {
    /// An interface of ours, a file or memory, be it open or broken.
    Own,
    /// An interface that was there before us, to be given back.
    Borrowed,
    /// Nothing yet.
    Nothing,
}

/// Why a port has nothing behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// No sandbox has joined its endpoint.
    NotJoined,
    /// It ended with an earlier daemon, and is begun anew when it is set up.
    Restarted,
}

impl Held {
    /// Returns what gives borrowed interfaces back.
    pub(super) fn borrowed(&self) -> impl Iterator<Item = Action> + '_ {
        let all = self.ports.iter();
        let borrowed = all.filter(|(_, held)| **held == PortHeld::Borrowed);
        borrowed.map(|(id, _)| Action::ClosePort(*id))
    }
}

/// Returns what makes this process hold nothing that the state no longer wants, and hold ports that
/// wait. It needs no look at the kernel, so it is asked after every change.
#[must_use]
pub fn upkeep(state: &State, held: &Held) -> Vec<Action> {
    let waits = |id: PortId| {
        let port = state.port(id);
        port.is_some_and(|port| is_unjoined(state, port))
    };
    let unwanted = held.ports.iter().filter(|(id, held)| {
        state.port(**id).is_none() || (waits(**id) && **held != PortHeld::Nothing)
    });
    let unwanted: BTreeSet<PortId> = unwanted.map(|(id, _)| *id).collect();
    let is_held = |id: &PortId| held.ports.contains_key(id) && !unwanted.contains(id);
    let waiting = state.ports().filter(|port| is_unjoined(state, port));
    let waiting = waiting.filter(|port| !is_held(&port.id));
    let wanted = |id: PublicationId| state.publication(id).is_some_and(is_ours);
    let unheard = held.listeners.iter().filter(|id| !wanted(**id));
    let close = unwanted.iter().copied().map(Action::ClosePort);
    close
        .chain(unheard.copied().map(Action::Unlisten))
        .chain(waiting.map(|port| Action::HoldPort(port.id, Waiting::NotJoined)))
        .collect()
}

/// Ports of the state that nothing is held of, as after a restart, and veths that were taken back.
pub(super) fn missing(state: &State, observed: &Observed, making: &mut Vec<Action>) {
    let taken = state.endpoints().filter_map(Endpoint::veth);
    let back = taken.filter(|host| observed.returned.contains(*host));
    making.extend(back.map(str::to_owned).map(Action::TakeOver));
    let bare = observed.bare.difference(&observed.parted);
    making.extend(bare.copied().map(Action::PutPrograms));
    let unheld = state
        .ports()
        .filter(|port| !observed.held.ports.contains_key(&port.id) && !is_unjoined(state, port));
    making.extend(unheld.map(|port| match &port.kind {
        PortKind::Own { kind, .. } if !kind.outlives_the_daemon() => {
            Action::HoldPort(port.id, Waiting::Restarted)
        }
        PortKind::Own { .. } | PortKind::Endpoint(_) => Action::OpenPort(port.id),
    }));
}

/// Ports whose veth is gone, and interfaces of endpoints that are no more: a daemon that was killed
/// leaves those that it had not remembered.
pub(super) fn lost(state: &State, observed: &Observed, taking: &mut Vec<Action>) {
    let lost = observed.parted.iter().copied().map(Action::LosePort);
    let sides = state.endpoints().filter_map(|e| state.host_side(e));
    let wanted: BTreeSet<String> = sides.flat_map(|side| [side.end, side.tap]).collect();
    let stray = observed.made.difference(&wanted).cloned();
    taking.extend(lost.chain(stray.map(Action::RemoveStray)));
}

/// Publications that nobody listens for yet.
pub(super) fn unheard(state: &State, held: &Held, making: &mut Vec<Action>) {
    let wanted = state.publications().filter(|p| is_ours(p));
    let missing = wanted.filter(|p| !held.listeners.contains(&p.id));
    making.extend(missing.map(|p| Action::Listen(p.id)));
}

fn is_unjoined(state: &State, port: &Port) -> bool {
    let endpoint = state.endpoint_of(port);
    endpoint.is_some_and(|endpoint| endpoint.sandbox.is_none())
}

/// Whether we listen at its ports of the host.
fn is_ours(publication: &Publication) -> bool {
    publication.listener == Listener::Ours
}
