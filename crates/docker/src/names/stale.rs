//! Endpoints that dockerd forgot: it was killed between two calls, and removes what it finds of
//! itself afterwards without a word to the driver.
//!
//! An endpoint is not known to dockerd's API yet while its container is being started, so one that
//! is unknown is a suspect at first, and stale when it still is half a minute later. One whose
//! sandbox is there is never touched: it may be another dockerd's.

use super::dockerd::View;
use crate::labels;
use api::{Endpoint, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Endpoints that were unknown at the last look, with the time they were first.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<Name, Instant>);

/// How long an endpoint may be unknown.
const PATIENCE: Duration = Duration::from_secs(30);

impl Suspects {
    /// Takes note of the endpoints that are unknown `now`; answers those that have been for too
    /// long.
    pub(super) fn look(&mut self, now: Instant, unknown: BTreeSet<Name>) -> Vec<Name> {
        let since = |id: Name| {
            let first = self.0.get(&id).copied().unwrap_or(now);
            (id, first)
        };
        self.0 = unknown.into_iter().map(since).collect();
        let stale = |first: &Instant| now.duration_since(*first) >= PATIENCE;
        let found = self.0.iter().filter(|(_, first)| stale(first));
        found.map(|(id, _)| id.clone()).collect()
    }

    /// When to look again because of them; `None` when there are none.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.0.is_empty()).then_some(PATIENCE)
    }
}

/// Docker's endpoints that dockerd does not know and that are in no sandbox.
pub(super) fn unknown(
    view: &View,
    endpoints: &[Endpoint],
    is_in_a_sandbox: impl Fn(&Endpoint) -> bool,
) -> BTreeSet<Name> {
    let networks = view.networks.values();
    let known: BTreeSet<&String> = networks.flat_map(|n| n.endpoints.keys()).collect();
    let unknown = endpoints.iter().filter(|endpoint| {
        let id = endpoint.labels.get(labels::ENDPOINT_ID);
        id.is_some_and(|id| !known.contains(id)) && !is_in_a_sandbox(endpoint)
    });
    unknown.map(|endpoint| endpoint.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::changes::tests::{endpoint, name, view};
    use super::*;

    #[test]
    fn only_what_is_dockers_and_unknown_and_outside_is_suspect() {
        let mut own = endpoint("ep-4", "web", "4");
        own.labels.clear();
        let endpoints = [
            endpoint("ep-1", "web", "1"),
            endpoint("ep-2", "web", "2"),
            endpoint("ep-3", "web", "3"),
            own,
        ];
        let in_a_sandbox = |endpoint: &Endpoint| endpoint.id.as_str() == "ep-3";
        let found = unknown(&view(&[("1", "db")]), &endpoints, in_a_sandbox);
        assert_eq!(found, [name("ep-2")].into());
    }

    #[test]
    fn a_suspect_is_stale_when_it_is_unknown_half_a_minute_later() {
        let mut suspects = Suspects::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ep = |n: u8| name(&format!("ep-{n}"));
        assert_eq!(suspects.patience(), None);
        assert_eq!(suspects.look(at(0), [ep(1), ep(2)].into()), []);
        assert_eq!(suspects.patience(), Some(PATIENCE));
        assert_eq!(suspects.look(at(29), [ep(1), ep(2), ep(3)].into()), []);
        // Known in between, its time begins anew.
        assert_eq!(suspects.look(at(30), [ep(1), ep(3)].into()), [ep(1)]);
        assert_eq!(suspects.look(at(40), [ep(2)].into()), []);
        assert_eq!(suspects.look(at(69), [ep(2)].into()), []);
        assert_eq!(suspects.look(at(70), [ep(2)].into()), [ep(2)]);
        assert_eq!(suspects.look(at(71), BTreeSet::new()), []);
        assert_eq!(suspects.patience(), None);
    }
}
