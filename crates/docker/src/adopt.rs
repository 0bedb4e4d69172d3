//! Adopted bridges: the containers that Docker's own bridge driver has put on them.
//!
//! ```text
//!   docker run ──> dockerd: veth, docker0, docker-proxy ──> event ──> a look ──> attach, join, publish
//!                                                                       ▲
//!   clearway adopt docker0 ─────────────────────────────────────────────┘
//! ```
//! Docker is not asked for anything and told nothing: it makes its containers as ever. As soon as one
//! has started, its veth joins an endpoint of the network that stands in for the bridge, which takes
//! it off the bridge. Its ports are published without a listener of ours, for `docker-proxy` has
//! them: the host's own 127.0.0.1 goes on through it, and what comes from outside gets to the
//! container first, with its true source.
//!
//! A look is a list of what is there on both sides; [`plan`] is the pure function from it to what is
//! to be done. It says the same however often it is asked, and whatever was done before, so a
//! restart of either side needs nothing special. What is refused (another endpoint has the name, say)
//! is tried again, less and less often. An absent dockerd is no reason to part anybody from anything.

mod dockerd;
mod plan;

use crate::look::{IDLE, LookError, arrived, blocking};
use crate::names::AskError;
use api::{Client, Detach, Endpoint, Name};
use dockerd::Dockerd;
use futures_util::{FutureExt, Stream, StreamExt};
use plan::{Act, Ours};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// Keeps the daemon on `api_socket` in step with the containers that dockerd on `docker_socket` has on
/// adopted bridges, for as long as it is polled. `changed` tells of a bridge that was adopted, or
/// released.
pub async fn follow_adopted(docker_socket: PathBuf, api_socket: PathBuf, changed: Arc<Notify>) {
    let client = Client::new(api_socket);
    let mut pause = SHORTEST;
    loop {
        let error = match follow(&docker_socket, &client, &changed).await {
            Ok(()) => {
                pause = SHORTEST;
                changed.notified().await;
                continue;
            }
            Err(error) => error,
        };
        if pause == SHORTEST {
            tracing::warn!(socket = %docker_socket.display(), %error, "adopted bridges are not followed for now");
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(LONGEST),
            () = changed.notified() => pause = SHORTEST,
        }
    }
}

/// The pause after something went wrong, at first and at most.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(10);
/// One look makes room for the next; so many are enough for all that depends on each other.
const PASSES: usize = 4;

/// How far a look got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Both sides agree.
    In,
    /// Something was refused.
    Out,
}

/// Looks whenever there is a reason to; ends when no bridge is adopted.
async fn follow(
    docker_socket: &std::path::Path,
    client: &Client,
    changed: &Notify,
) -> Result<(), LookError> {
    if ours(client).await?.adoptions.is_empty() {
        return Ok(());
    }
    let dockerd = Dockerd::connect(docker_socket)?;
    let mut events = pin!(dockerd.events());
    // What happens between the first look and the first event is seen by the second look.
    let (mut pause, mut next) = (SHORTEST, Duration::from_secs(1));
    loop {
        match look(&dockerd, client).await? {
            None => return Ok(()),
            Some(Step::In) => pause = SHORTEST,
            Some(Step::Out) => {
                next = pause;
                pause = (pause * 2).min(LONGEST);
            }
        }
        tokio::select! {
            event = events.next() => {
                arrived(event)?;
                take_waiting(&mut events)?;
                pause = SHORTEST;
            }
            () = changed.notified() => {}
            () = sleep(next) => {}
        }
        next = IDLE;
    }
}

/// Takes the events that are there already: one look is for all of them.
fn take_waiting(
    events: &mut (impl Stream<Item = Result<(), AskError>> + Unpin),
) -> Result<(), AskError> {
    while let Some(event) = events.next().now_or_never() {
        arrived(event)?;
    }
    Ok(())
}

/// Compares both sides until they agree, or what differs is refused; `None` when nothing is adopted.
async fn look(dockerd: &Dockerd, client: &Client) -> Result<Option<Step>, LookError> {
    for _ in 0..PASSES {
        let ours = ours(client).await?;
        if ours.adoptions.is_empty() {
            return Ok(None);
        }
        let theirs = dockerd.view(&ours).await?;
        let acts = plan::what_to_do(&theirs, &ours);
        if acts.is_empty() {
            return Ok(Some(Step::In));
        }
        let client = client.clone();
        let done = blocking(move || Ok(acts.iter().filter(|act| carry_out(&client, act)).count()));
        if done.await? == 0 {
            break;
        }
    }
    Ok(Some(Step::Out))
}

async fn ours(client: &Client) -> Result<Ours, LookError> {
    let client = client.clone();
    blocking(move || {
        let adoptions = client.adoptions()?;
        if adoptions.is_empty() {
            return Ok(Ours::default());
        }
        Ok(Ours {
            adoptions,
            networks: client.networks()?,
            endpoints: client.endpoints()?,
            publications: client.publications()?,
        })
    })
    .await
}

/// Returns whether it could be done.
fn carry_out(client: &Client, act: &Act) -> bool {
    let done = match act {
        Act::Detach(endpoint) => client.detach(&Detach::Endpoint(endpoint.clone())).map(told),
        Act::Attach(attach) => client.attach(attach).map(told),
        Act::Join(endpoint, join) => client.endpoint_join(endpoint, join).map(told),
        Act::Publish(ports) => client.publish(ports).map(|_| ()),
        Act::SetEndpoint(endpoint, set) => client.endpoint_set(endpoint, set).map(|_| ()),
        Act::SetNetwork(network, set) => client.network_set(network, set).map(|_| ()),
    };
    if let Err(error) = &done {
        tracing::debug!(?act, %error, "cannot be done yet");
    }
    done.is_ok()
}

fn told(endpoint: Endpoint) {
    let name: Option<Name> = endpoint.name;
    tracing::info!(endpoint = %endpoint.id, name = name.as_ref().map_or("", Name::as_str), network = %endpoint.network, "in step with Docker");
}
