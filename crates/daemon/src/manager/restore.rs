//! Taking up again what an earlier daemon left.
//!
//! Its TAPs are persistent: they are still in their containers, with addresses and routes and
//! without carrier, and get their carrier back when they are opened. A port that cannot be opened
//! is kept, dead, with the reason; an endpoint whose namespace is gone is dropped. Capture files are
//! left alone until their port is set up: a restart neither plays a file again nor overwrites one.

use super::endpoints::named;
use super::open::{NOT_JOINED, OpenPort, netns_of, watched};
use super::sandbox::Sighting;
use super::writer::Writer;
use api::ApiError;
use control::{EndpointId, Port, PortKind};

impl Writer {
    /// Opens every port of the state, and publishes it.
    pub(super) fn restore(&mut self) -> Result<(), ApiError> {
        let unseen = self.note_sandboxes();
        let dropped = self.drop_endpoints_of_the_past(&unseen);
        let ports: Vec<Port> = self.state.ports().cloned().collect();
        for port in &ports {
            if matches!(&port.kind, PortKind::Own { kind, .. } if !kind.outlives_the_daemon()) {
                self.open.insert(
                    port.id,
                    OpenPort::down("the daemon was restarted; set it up to begin anew"),
                );
                continue;
            }
            if self
                .state
                .endpoint_of(port)
                .is_some_and(|e| e.sandbox.is_none())
            {
                self.open.insert(port.id, OpenPort::down(NOT_JOINED));
                continue;
            }
            let netns = self.state.sandbox_of(port).as_ref().map(netns_of);
            let taken = match self.reopen(port) {
                Ok((opened, netns)) => opened
                    .persist()
                    .map_err(|error| error.to_string())
                    .and_then(|()| {
                        self.take_in(port.id, netns, opened)
                            .map_err(|error| error.message)
                    }),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = taken {
                self.warn(format!("port {} could not be opened: {why}", port.name));
                self.open.insert(port.id, OpenPort::dead(netns, why));
            }
        }
        if (dropped || self.rebooted)
            && let Err(error) = self.remember_all()
        {
            self.warn(error.to_string());
        }
        self.publish_state()
    }

    /// Remembers sandboxes that have come meanwhile; answers whose came and went.
    fn note_sandboxes(&mut self) -> Vec<EndpointId> {
        let mut unseen = Vec::new();
        for (endpoint, sighting) in self.sightings() {
            match sighting {
                Sighting::There(netns) => {
                    let noted = self.state.sandbox_found(endpoint.id, named(&netns));
                    let _ = noted.map(|change| self.commit(change));
                }
                Sighting::Gone => unseen.push(endpoint.id),
            }
        }
        unseen
    }

    /// Drops endpoints whose namespace is gone; answers whether there were any.
    fn drop_endpoints_of_the_past(&mut self, unseen: &[EndpointId]) -> bool {
        let rebooted = self.rebooted;
        let gone: Vec<EndpointId> = self
            .state
            .endpoints()
            .filter(|e| {
                let ended = watched(e).is_some_and(|netns| !netns.is_alive());
                rebooted || ended || unseen.contains(&e.id)
            })
            .map(|e| e.id)
            .collect();
        for &id in &gone {
            if let Ok((_, change)) = self.state.detach(id) {
                tracing::warn!(endpoint = %id, "its network namespace is gone: dropped");
                let _ = self.commit(change);
            }
        }
        !gone.is_empty()
    }
}
