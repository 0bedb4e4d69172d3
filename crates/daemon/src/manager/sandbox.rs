//! Sandboxes that an endpoint joined before they were there.
//!
//! dockerd names the file of a container's namespace, has an endpoint join it, then makes both,
//! and moves the interface in; nobody tells the daemon. So it looks, whenever it looks after its
//! ports and before it refuses what such an endpoint holds.
//!
//! A trap: file and number of a namespace are given anew when a container ends, and a `dockerd`
//! that cleans up mounts an empty namespace at the very path. What tells is the interface, which is
//! in one namespace at a time: here, in the sandbox, or nowhere with its sandbox.

use super::core::Core;
use super::endpoints::named;
use super::open::netns_of;
use super::refuse::KernelError;
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

impl Core {
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
        let left = Netns::with_own_links(|links| {
            let has_left = |(endpoint, _): &(&Endpoint, &Sandbox)| {
                Ok::<_, KernelError>(links.state(&endpoint.ifname)?.is_none())
            };
            let all = awaited.into_iter().map(|it| Ok((it, has_left(&it)?)));
            all.collect::<Result<Vec<_>, KernelError>>()
        });
        let left = left.unwrap_or_else(|error| {
            tracing::debug!(%error, "sandboxes are not looked for");
            Vec::new()
        });
        let left = left.into_iter().filter(|(_, has_left)| *has_left);
        left.map(|((endpoint, sandbox), _)| {
            let sighting = holder(sandbox, endpoint.mac).map_or(Sighting::Gone, Sighting::There);
            (endpoint.clone(), sighting)
        })
        .collect()
    }
}

/// An endpoint whose sandbox was not there yet.
fn awaiting(endpoint: &Endpoint) -> Option<(&Endpoint, &Sandbox)> {
    let sandbox = endpoint.sandbox.as_ref()?;
    sandbox.identity.is_none().then_some((endpoint, sandbox))
}

/// The namespace where a sandbox is to be, if an interface of this address is in it.
fn holder(sandbox: &Sandbox, mac: MacAddr) -> Option<Netns> {
    let netns = Netns::find(netns_of(sandbox).place().clone()).ok()?;
    let inside = netns.run(|inside| Ok::<_, KernelError>(inside.links()?.with_mac(mac.0)?));
    inside.ok().flatten().map(|_| netns)
}
