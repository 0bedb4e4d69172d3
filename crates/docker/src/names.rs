//! Names: what Docker calls its networks and containers, and what others find them by.
//!
//! Docker tells a driver ids only. So dockerd is asked, over its own API: at the start, when its
//! events say that something changed, and when a call of the driver's did. Never within a call:
//! dockerd holds a network's lock while it waits for CreateEndpoint, and to inspect that network
//! would wait for the lock.
//!
//! A look is a list of what is there on both sides; [`changes`] is the pure function from it to
//! what has to be set. Endpoints that dockerd forgot, because it was killed between two calls, are
//! collected by [`stale`]. An absent dockerd is no trouble: names stay as they are, and it is tried
//! again, from once a second to twice a minute.

mod changes;
mod dockerd;
mod stale;

use crate::driver::is_in_a_sandbox;
use crate::error::gone;
use crate::look::{IDLE, LookError, arrived, blocking};
use api::{Client, Detach, Endpoint, Network};
use changes::Change;
use dockerd::View;
pub(crate) use dockerd::{AskError, Dockerd};
use futures_util::{Stream, StreamExt};
use stale::Suspects;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout, timeout_at};

/// Keeps names in step with dockerd's on `socket`, for as long as it is polled. `changed` tells of
/// something new.
pub(crate) async fn keep(socket: PathBuf, client: Client, changed: Arc<Notify>) {
    let mut keeper = Keeper {
        client,
        suspects: Suspects::default(),
    };
    let mut pause = SHORTEST;
    loop {
        let error = match Dockerd::connect(&socket) {
            Ok(dockerd) => keeper.follow(&dockerd, &changed, &mut pause).await,
            Err(error) => error.into(),
        };
        tracing::debug!(socket = %socket.display(), %error, "dockerd cannot be asked for names");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// The pause after a dockerd was found to be absent, at first and at most.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// How long dockerd may take for all answers of a look.
const SLOWEST: Duration = Duration::from_secs(60);
/// Events come in swarms: how long one is waited for.
const GATHER: Duration = Duration::from_millis(100);

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Everything was as it should be.
    Nothing,
    /// Something was changed, which may make room for something else.
    Changes,
}

struct Keeper {
    client: Client,
    suspects: Suspects,
}

impl Keeper {
    /// Looks whenever there is a reason to, until dockerd does not answer.
    async fn follow(
        &mut self,
        dockerd: &Dockerd,
        changed: &Notify,
        pause: &mut Duration,
    ) -> LookError {
        let mut events = pin!(dockerd.events());
        loop {
            let next = match self.look(dockerd).await {
                Ok(Found::Changes) => SHORTEST,
                Ok(Found::Nothing) => self.suspects.patience().unwrap_or(IDLE),
                // Clearway's own absence is not dockerd's.
                Err(error @ LookError::Docker(_)) => return error,
                Err(error) => {
                    tracing::debug!(%error, "names are not in step");
                    LONGEST
                }
            };
            *pause = SHORTEST;
            tokio::select! {
                event = events.next() => {
                    if let Err(error) = arrived(event) {
                        return error.into();
                    }
                    if let Err(error) = gather(&mut events).await {
                        return error.into();
                    }
                }
                () = changed.notified() => sleep(GATHER).await,
                () = sleep(next) => {}
            }
        }
    }

    /// Compares both sides, and sets what differs.
    async fn look(&mut self, dockerd: &Dockerd) -> Result<Found, LookError> {
        let client = self.client.clone();
        let (networks, endpoints) =
            blocking(move || Ok((client.networks()?, client.endpoints()?))).await?;
        let view = timeout(SLOWEST, dockerd.view(&networks, &endpoints)).await;
        let view = view.unwrap_or(Err(AskError::Slow))?;
        let stale = self.suspects.look(
            Instant::now(),
            stale::unknown(&view, &endpoints, is_in_a_sandbox),
        );
        let client = self.client.clone();
        blocking(move || Ok(set_in_step(&client, &view, &networks, &endpoints, stale))).await
    }
}

/// Sets what differs. What is refused is tried again with the next look.
fn set_in_step(
    client: &Client,
    view: &View,
    networks: &[Network],
    endpoints: &[Endpoint],
    stale: Vec<api::Name>,
) -> Found {
    let mut found = Found::Nothing;
    for endpoint in stale {
        tracing::info!(%endpoint, "removed: dockerd does not know it any more");
        if let Err(error) = gone(client.detach(&Detach::Endpoint(endpoint.clone()))) {
            tracing::warn!(%endpoint, %error, "cannot be removed");
        }
    }
    for change in changes::what_to_change(view, networks, endpoints) {
        let done = match &change {
            Change::Network { network, set } => client.network_set(network, set).map(|_| ()),
            Change::Endpoint { endpoint, set } => client.endpoint_set(endpoint, set).map(|_| ()),
        };
        match done {
            Ok(()) => found = Found::Changes,
            Err(error) => tracing::debug!(?change, %error, "a name was refused"),
        }
    }
    found
}

/// Takes the events that come right after one.
async fn gather(
    events: &mut (impl Stream<Item = Result<(), AskError>> + Unpin),
) -> Result<(), AskError> {
    let until = tokio::time::Instant::now() + GATHER;
    while let Ok(event) = timeout_at(until, events.next()).await {
        arrived(event)?;
    }
    Ok(())
}
