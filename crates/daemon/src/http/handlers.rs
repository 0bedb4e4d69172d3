//! One handler a route; its attributes are the route's description.

use super::extract::{Checked, Filter, Named, Refusal};
use crate::calls::Calls;
use api::routes;
use api::{
    ApiError, Cleaned, Drops, ExplainRequest, Explanation, FdbAdd, FdbEntry, FdbFilter, FdbFlush,
    FdbKey, Finding, Flushed, Network, NetworkCreate, NetworkSet, Port, PortAdd, PortSet, Status,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::future::Future;
use std::sync::Arc;

pub(super) type Answer<T> = Result<Json<T>, Refusal>;
pub(super) type Made<T> = Result<(StatusCode, Json<T>), Refusal>;

/// All networks, by name.
#[utoipa::path(get, path = routes::NETWORKS, tag = "networks", responses((status = 200, body = Vec<Network>)))]
pub(super) async fn networks<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Vec<Network>> {
    task(async move { calls.networks().await }).await.map(Json)
}

/// Makes a network.
#[utoipa::path(post, path = routes::NETWORKS, tag = "networks", request_body = NetworkCreate, responses((status = 201, body = Network), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn network_create<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<NetworkCreate>,
) -> Made<Network> {
    task(async move { calls.network_create(asked).await })
        .await
        .map(|made| (StatusCode::CREATED, Json(made)))
}

/// One network.
#[utoipa::path(get, path = routes::NETWORK, tag = "networks", params(("name" = String, Path, description = "the name")), responses((status = 200, body = Network), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn network<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Answer<Network> {
    task(async move { calls.network(&name).await })
        .await
        .map(Json)
}

/// Changes a network while it is used: an absent field stays.
#[utoipa::path(patch, path = routes::NETWORK, tag = "networks", params(("name" = String, Path, description = "the name")), request_body = NetworkSet, responses((status = 200, body = Network), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn network_set<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
    Checked(asked): Checked<NetworkSet>,
) -> Answer<Network> {
    task(async move { calls.network_set(&name, asked).await })
        .await
        .map(Json)
}

/// Takes a network away that has neither ports nor endpoints.
#[utoipa::path(delete, path = routes::NETWORK, tag = "networks", params(("name" = String, Path, description = "the name")), responses((status = 204, description = "done"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn network_remove<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Result<StatusCode, Refusal> {
    task(async move { calls.network_remove(&name).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// All ports, by name.
#[utoipa::path(get, path = routes::PORTS, tag = "ports", responses((status = 200, body = Vec<Port>)))]
pub(super) async fn ports<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Vec<Port>> {
    task(async move { calls.ports().await }).await.map(Json)
}

/// Adds a port.
#[utoipa::path(post, path = routes::PORTS, tag = "ports", request_body = PortAdd, responses((status = 201, body = Port), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn port_add<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<PortAdd>,
) -> Made<Port> {
    task(async move { calls.port_add(asked).await })
        .await
        .map(|made| (StatusCode::CREATED, Json(made)))
}

/// One port.
#[utoipa::path(get, path = routes::PORT, tag = "ports", params(("name" = String, Path, description = "the name")), responses((status = 200, body = Port), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn port<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Answer<Port> {
    task(async move { calls.port(&name).await }).await.map(Json)
}

/// Changes a port: an absent field stays, `null` takes a setting away.
#[utoipa::path(patch, path = routes::PORT, tag = "ports", params(("name" = String, Path, description = "the name")), request_body = PortSet, responses((status = 200, body = Port), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn port_set<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
    Checked(asked): Checked<PortSet>,
) -> Answer<Port> {
    task(async move { calls.port_set(&name, asked).await })
        .await
        .map(Json)
}

/// Takes a port away.
#[utoipa::path(delete, path = routes::PORT, tag = "ports", params(("name" = String, Path, description = "the name")), responses((status = 204, description = "done"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn port_remove<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Result<StatusCode, Refusal> {
    task(async move { calls.port_remove(&name).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// The MAC addresses that pass the filter, by network, VLAN and address.
#[utoipa::path(get, path = routes::FDB, tag = "fdb", params(FdbFilter), responses((status = 200, body = Vec<FdbEntry>), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn fdb<C: Calls>(
    State(calls): State<Arc<C>>,
    Filter(filter): Filter<FdbFilter>,
) -> Answer<Vec<FdbEntry>> {
    task(async move { calls.fdb(filter).await }).await.map(Json)
}

/// Writes a static entry.
#[utoipa::path(post, path = routes::FDB, tag = "fdb", request_body = FdbAdd, responses((status = 201, body = FdbEntry), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn fdb_add<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<FdbAdd>,
) -> Made<FdbEntry> {
    task(async move { calls.fdb_add(asked).await })
        .await
        .map(|made| (StatusCode::CREATED, Json(made)))
}

/// Removes one entry, learned or static.
#[utoipa::path(post, path = routes::FDB_REMOVE, tag = "fdb", request_body = FdbKey, responses((status = 204, description = "done"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn fdb_remove<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<FdbKey>,
) -> Result<StatusCode, Refusal> {
    task(async move { calls.fdb_remove(asked).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// Forgets entries.
#[utoipa::path(post, path = routes::FDB_FLUSH, tag = "fdb", request_body = FdbFlush, responses((status = 200, body = Flushed), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn fdb_flush<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<FdbFlush>,
) -> Answer<Flushed> {
    task(async move { calls.fdb_flush(asked).await })
        .await
        .map(Json)
}

/// What was dropped, reason by reason.
#[utoipa::path(get, path = routes::DROPS, tag = "watch", responses((status = 200, body = Drops)))]
pub(super) async fn drops<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Drops> {
    task(async move { calls.drops().await }).await.map(Json)
}

/// What is not as it should be.
#[utoipa::path(get, path = routes::DOCTOR, tag = "watch", responses((status = 200, body = Vec<Finding>)))]
pub(super) async fn doctor<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Vec<Finding>> {
    task(async move { calls.doctor().await }).await.map(Json)
}

/// Puts right what is not as it should be; answers what was found, and what is still there.
#[utoipa::path(post, path = routes::DOCTOR_CLEAN, tag = "watch", responses((status = 200, body = Vec<Cleaned>)))]
pub(super) async fn doctor_clean<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Vec<Cleaned>> {
    task(async move { calls.doctor_clean().await })
        .await
        .map(Json)
}

/// How the daemon is.
#[utoipa::path(get, path = routes::STATUS, tag = "watch", responses((status = 200, body = Status)))]
pub(super) async fn status<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Status> {
    task(async move { calls.status().await }).await.map(Json)
}

/// Leads a frame through the live tables without side effects.
#[utoipa::path(post, path = routes::EXPLAIN, tag = "watch", request_body = ExplainRequest, responses((status = 200, body = Explanation), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn explain<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<ExplainRequest>,
) -> Answer<Explanation> {
    task(async move { calls.explain(asked).await })
        .await
        .map(Json)
}

/// This description.
#[utoipa::path(get, path = routes::OPENAPI, tag = "watch", responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::openapi())
}

/// Runs a call as a task of its own, so that nothing ends it half-way.
pub(super) async fn task<T: Send + 'static>(
    call: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(call).await {
        Ok(answer) => answer.map_err(Refusal),
        Err(error) => {
            tracing::error!(%error, "a call failed");
            Err(Refusal(ApiError::internal(
                "the daemon failed at this call; its log says where",
            )))
        }
    }
}
