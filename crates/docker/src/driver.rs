//! The network driver: Docker's networks, endpoints and sandboxes as Clearway's.
//!
//! ```text
//!   CreateNetwork ──> network with Docker's id as a label        DeleteNetwork
//!   CreateEndpoint ─> endpoint without a sandbox, likewise       DeleteEndpoint
//!   Join ───────────> a TAP in our namespace; dockerd moves it   Leave
//!   Program... ─────> publications                               Revoke...
//! ```
//!
//! Nothing is kept here between two calls but the random port last given: the networks and
//! endpoints are asked of the daemon each time and found by their labels. dockerd serializes the
//! calls about one endpoint, and those about different ones may come at the same time.

mod endpoint;
mod external;
mod messages;
mod network;
mod sandbox;

pub(crate) use endpoint::is_in_a_sandbox;

use crate::error::{Refusal, refused_with};
use crate::labels;
use api::{Client, ClientError, Endpoint, ErrorCode, Network};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use tokio::sync::Notify;

/// Answers for networks. Every call blocks.
#[derive(Debug)]
pub(crate) struct Driver {
    client: Client,
    netns_prefix: Option<(PathBuf, PathBuf)>,
    /// Told when there is something that may have a name now.
    changed: Arc<Notify>,
    /// The last port chosen where any would do; 0 before the first.
    last_port: AtomicU16,
}

impl Driver {
    /// A driver that asks `client`.
    pub(crate) fn new(
        client: Client,
        netns_prefix: Option<(PathBuf, PathBuf)>,
        changed: Arc<Notify>,
    ) -> Self {
        Self {
            client,
            netns_prefix,
            changed,
            last_port: AtomicU16::new(0),
        }
    }

    /// The network that Docker calls `id`.
    fn find_network(&self, id: &str) -> Result<Option<Network>, Refusal> {
        let mut networks = self.client.networks()?.into_iter();
        Ok(networks.find(|network| has(&network.spec.labels, labels::NETWORK_ID, id)))
    }

    /// Does something with the network that Docker calls `id`, by its present name; answers
    /// nothing when there is none. When it gets its name from Docker in between, once more.
    fn with_network<T>(
        &self,
        id: &str,
        act: impl Fn(&Network) -> Result<T, ClientError>,
    ) -> Result<Option<T>, Refusal> {
        let mut renamed = None;
        for _ in 0..2 {
            let Some(network) = self.find_network(id)? else {
                return Ok(None);
            };
            match act(&network) {
                Ok(done) => return Ok(Some(done)),
                Err(error) if refused_with(&error, ErrorCode::NotFound).is_some() => {
                    renamed = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        renamed.map_or(Ok(None), |error| Err(error.into()))
    }

    /// The endpoint that Docker calls `id`.
    fn find_endpoint(&self, id: &str) -> Result<Option<Endpoint>, Refusal> {
        let mut endpoints = self.client.endpoints()?.into_iter();
        Ok(endpoints.find(|endpoint| has(&endpoint.labels, labels::ENDPOINT_ID, id)))
    }

    /// As [`Self::find_endpoint`], where there must be one.
    fn endpoint(&self, id: &str) -> Result<Endpoint, Refusal> {
        let found = self.find_endpoint(id)?;
        found.ok_or_else(|| Refusal::NoEndpoint(id.to_owned()))
    }
}

fn has(labels: &BTreeMap<String, String>, key: &str, value: &str) -> bool {
    labels.get(key).is_some_and(|own| own == value)
}
