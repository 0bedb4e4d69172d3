//! Sandboxes that an endpoint joined before they were there.
//!
//! dockerd names the file of a container's namespace, has an endpoint join it, then makes both,
//! and moves the interface in; nobody tells the daemon. So it looks, whenever it looks after its
//! ports and before it refuses what such an endpoint holds.
//!
//! A trap: file and number of a namespace are given anew when a container ends, and a `dockerd`
//! that cleans up mounts an empty namespace at the very path. What tells is the interface, which is
//! in one namespace at a time: here, in the sandbox, or nowhere with its sandbox.

use super::endpoints::named;
use super::open::netns_of;
use super::refuse::KernelError;
use super::writer::Writer;
use control::{Endpoint, Sandbox};
use host::Netns;
use wire::MacAddr;

/// What became of a sandbox that was not there.
pub(super) enum Sighting {
    /// It is there, with the endpoint's interface.
    There(Netns),
    /// The interface has left for it and is nowhere now: it came and went unseen.
    Gone,
}

impl Writer {
    /// Remembers sandboxes that have come, and drops endpoints whose sandbox has come and gone.
    pub(super) fn find_sandboxes(&mut self) {
        for (endpoint, sighting) in self.sightings() {
            let netns = match sighting {
                Sighting::There(netns) => netns,
                Sighting::Gone => {
                    self.namespace_gone(endpoint.port);
                    continue;
                }
            };
            let noted = self.state.sandbox_found(endpoint.id, named(&netns));
            let Ok(change) = noted else { continue };
            match self.begin(change) {
                Ok(begun) => {
                    self.publish(begun);
                    if let Some(open) = self.open.get_mut(&endpoint.port) {
                        open.netns = Some(netns);
                    }
                }
                Err(error) => tracing::debug!(%error, "a sandbox that was found is not noted yet"),
            }
        }
    }

    /// Endpoints that waited for their sandbox and need not any more.
    pub(super) fn sightings(&self) -> Vec<(Endpoint, Sighting)> {
        let awaited: Vec<_> = self.state.endpoints().filter_map(awaiting).collect();
        if awaited.is_empty() {
            return Vec::new();
        }
        let here: Result<Vec<bool>, KernelError> = Netns::with_own_links(|links| {
            let ifnames = awaited.iter().map(|(endpoint, _)| &endpoint.ifname);
            ifnames.map(|own| Ok(links.state(own)?.is_some())).collect()
        });
        // What cannot be told now is told the next time.
        let Ok(here) = here else { return Vec::new() };
        let left = awaited
            .into_iter()
            .zip(here)
            .filter(|(_, is_here)| !is_here);
        let seen = |(endpoint, sandbox): (&Endpoint, &Sandbox)| {
            Some((endpoint.clone(), sighting(sandbox, endpoint.mac).ok()?))
        };
        left.filter_map(|(it, _)| seen(it)).collect()
    }
}

/// An endpoint whose sandbox was not there yet.
fn awaiting(endpoint: &Endpoint) -> Option<(&Endpoint, &Sandbox)> {
    let sandbox = endpoint.sandbox.as_ref()?;
    sandbox.identity.is_none().then_some((endpoint, sandbox))
}

/// Returns what became of a sandbox for which the interface of this address has left.
fn sighting(sandbox: &Sandbox, mac: MacAddr) -> Result<Sighting, KernelError> {
    let netns = match Netns::find(netns_of(sandbox).place().clone()) {
        Ok(netns) => netns,
        Err(error) if is_absent(&error) => return Ok(Sighting::Gone),
        Err(error) => return Err(error.into()),
    };
    let ifname = netns.run(|inside| inside.links()?.with_mac(mac.0));
    match ifname {
        Ok(Some(_)) => Ok(Sighting::There(netns)),
        Ok(None) => Ok(Sighting::Gone),
        Err(error) if is_absent(&error) => Ok(Sighting::Gone),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether there is no namespace: nothing, another one by now, or the file that dockerd leaves.
fn is_absent(error: &host::Error) -> bool {
    error.is_namespace_gone() || matches!(error, host::Error::NotANamespace { .. })
}
