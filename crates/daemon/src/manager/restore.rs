//! Taking up again what an earlier daemon left.
//!
//! Its TAPs are persistent: they are still in their containers, with addresses and routes and
//! without carrier, and get their carrier back when they are opened. A port that cannot be opened
//! is kept, dead, with the reason; an endpoint whose namespace is gone is dropped. Capture files are
//! left alone until their port is set up: a restart neither plays a file again nor overwrites one.

use super::endpoints::named;
use super::open::watched;
use super::sandbox::Sighting;
use super::writer::Writer;
use api::ApiError;
use control::EndpointId;

impl Writer {
    /// Drops what ended meanwhile, and publishes the rest: its ports are opened in the first round.
    pub(super) fn restore(&mut self) -> Result<(), ApiError> {
        let unseen = self.note_sandboxes();
        let dropped = self.drop_endpoints_of_the_past(&unseen);
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
