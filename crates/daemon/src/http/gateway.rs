//! Handlers of what the gateway does: policies, uplinks, publications, connections.

use super::extract::{Checked, Filter, Named, Refusal};
use super::handlers::{Answer, Made, task};
use crate::calls::Calls;
use api::routes;
use api::{
    ApiError, Flushed, NatEntry, NatEvent, NatFilter, Policy, Publication, PublicationCreate,
    Uplink, UplinkAdd,
};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What an endpoint may send and receive.
#[utoipa::path(get, path = routes::POLICY, tag = "endpoints", params(("name" = String, Path, description = "the name")), responses((status = 200, body = Policy), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn policy<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Answer<Policy> {
    task(async move { calls.policy(&name).await })
        .await
        .map(Json)
}

/// Says what an endpoint may send and receive, whole.
#[utoipa::path(post, path = routes::POLICY, tag = "endpoints", params(("name" = String, Path, description = "the name")), request_body = Policy, responses((status = 200, body = Policy), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn policy_set<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
    Checked(asked): Checked<Policy>,
) -> Answer<Policy> {
    task(async move { calls.policy_set(&name, asked).await })
        .await
        .map(Json)
}

/// Lets an endpoint send and receive everything.
#[utoipa::path(delete, path = routes::POLICY, tag = "endpoints", params(("name" = String, Path, description = "the name")), responses((status = 204, description = "done"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn policy_clear<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Result<StatusCode, Refusal> {
    task(async move { calls.policy_set(&name, Policy::default()).await })
        .await
        .map(|_| StatusCode::NO_CONTENT)
}

/// All uplinks, in the order they were added: the first serves networks that name none.
#[utoipa::path(get, path = routes::UPLINKS, tag = "uplinks", responses((status = 200, body = Vec<Uplink>)))]
pub(super) async fn uplinks<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Vec<Uplink>> {
    task(async move { calls.uplinks().await }).await.map(Json)
}

/// Adds an uplink. The host keeps using the NIC.
#[utoipa::path(post, path = routes::UPLINKS, tag = "uplinks", request_body = UplinkAdd, responses((status = 201, body = Uplink), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn uplink_add<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<UplinkAdd>,
) -> Made<Uplink> {
    task(async move { calls.uplink_add(asked).await })
        .await
        .map(|made| (StatusCode::CREATED, Json(made)))
}

/// Takes an uplink away that no network names.
#[utoipa::path(delete, path = routes::UPLINK, tag = "uplinks", params(("name" = String, Path, description = "the name")), responses((status = 204, description = "done"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn uplink_remove<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Result<StatusCode, Refusal> {
    task(async move { calls.uplink_remove(&name).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// All publications, in the order they were made.
#[utoipa::path(get, path = routes::PUBLICATIONS, tag = "publications", responses((status = 200, body = Vec<Publication>)))]
pub(super) async fn publications<C: Calls>(
    State(calls): State<Arc<C>>,
) -> Answer<Vec<Publication>> {
    task(async move { calls.publications().await })
        .await
        .map(Json)
}

/// Publishes ports of an endpoint.
#[utoipa::path(post, path = routes::PUBLICATIONS, tag = "publications", request_body = PublicationCreate, responses((status = 201, body = Publication), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn publish<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<PublicationCreate>,
) -> Made<Publication> {
    task(async move { calls.publish(asked).await })
        .await
        .map(|made| (StatusCode::CREATED, Json(made)))
}

/// Takes a publication away.
#[utoipa::path(delete, path = routes::PUBLICATION, tag = "publications", params(("name" = String, Path, description = "the id")), responses((status = 204, description = "done"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn unpublish<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(id): Named,
) -> Result<StatusCode, Refusal> {
    task(async move { calls.unpublish(&id).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// The connections the NAT follows that pass the filter.
#[utoipa::path(get, path = routes::NAT, tag = "nat", params(NatFilter), responses((status = 200, body = Vec<NatEntry>), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 503, body = ApiError, description = "not possible now")))]
pub(super) async fn nat<C: Calls>(
    State(calls): State<Arc<C>>,
    Filter(filter): Filter<NatFilter>,
) -> Answer<Vec<NatEntry>> {
    task(async move { calls.nat(filter).await }).await.map(Json)
}

/// Forgets the connections that pass the filter.
#[utoipa::path(post, path = routes::NAT_FLUSH, tag = "nat", request_body = NatFilter, responses((status = 200, body = Flushed), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 503, body = ApiError, description = "not possible now")))]
pub(super) async fn nat_flush<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(filter): Checked<NatFilter>,
) -> Answer<Flushed> {
    task(async move { calls.nat_flush(filter).await })
        .await
        .map(Json)
}

/// What happens to the connections that pass the filter, a line of JSON each, until the client
/// hangs up.
#[utoipa::path(get, path = routes::NAT_WATCH, tag = "nat", params(NatFilter), responses((status = 200, body = NatEvent, content_type = "application/x-ndjson"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 503, body = ApiError, description = "not possible now")))]
pub(super) async fn nat_watch<C: Calls>(
    State(calls): State<Arc<C>>,
    Filter(filter): Filter<NatFilter>,
) -> Result<Response, Refusal> {
    let events = task(async move { calls.nat_watch(filter).await }).await?;
    let lines = Body::from_stream(stream::unfold(events, next_line));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

type Events = mpsc::Receiver<NatEvent>;

/// The next event as a line; the stream ends with its sender.
async fn next_line(mut events: Events) -> Option<(Result<Bytes, Infallible>, Events)> {
    let event = events.recv().await?;
    let mut line = serde_json::to_vec(&event).ok()?;
    line.push(b'\n');
    Some((Ok(line.into()), events))
}
