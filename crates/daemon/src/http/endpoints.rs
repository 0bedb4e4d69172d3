//! Handlers of endpoints: made, joined, left, taken away.

use super::extract::{Checked, Named};
use super::handlers::{Answer, Made, task};
use crate::calls::Calls;
use api::routes;
use api::{ApiError, Attach, Detach, Endpoint, EndpointSet, Join};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;

/// All endpoints, by id.
#[utoipa::path(get, path = routes::ENDPOINTS, tag = "endpoints", responses((status = 200, body = Vec<Endpoint>)))]
pub(super) async fn endpoints<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Vec<Endpoint>> {
    task(async move { calls.endpoints().await }).await.map(Json)
}

/// Makes an endpoint. With a namespace its interface is made there, given its addresses, set up.
#[utoipa::path(post, path = routes::ENDPOINTS, tag = "endpoints", request_body = Attach, responses((status = 201, body = Endpoint), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn attach<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<Attach>,
) -> Made<Endpoint> {
    task(async move { calls.attach(asked).await })
        .await
        .map(|made| (StatusCode::CREATED, Json(made)))
}

/// One endpoint, by id or by name.
#[utoipa::path(get, path = routes::ENDPOINT, tag = "endpoints", params(("name" = String, Path, description = "the name")), responses((status = 200, body = Endpoint), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn endpoint<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Answer<Endpoint> {
    task(async move { calls.endpoint(&name).await })
        .await
        .map(Json)
}

/// Changes an endpoint's names and labels: an absent field stays.
#[utoipa::path(patch, path = routes::ENDPOINT, tag = "endpoints", params(("name" = String, Path, description = "the name")), request_body = EndpointSet, responses((status = 200, body = Endpoint), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn endpoint_set<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
    Checked(asked): Checked<EndpointSet>,
) -> Answer<Endpoint> {
    task(async move { calls.endpoint_set(&name, asked).await })
        .await
        .map(Json)
}

/// Gives an endpoint its interface in a sandbox.
#[utoipa::path(post, path = routes::ENDPOINT_JOIN, tag = "endpoints", params(("name" = String, Path, description = "the name")), request_body = Join, responses((status = 200, body = Endpoint), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn endpoint_join<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
    Checked(asked): Checked<Join>,
) -> Answer<Endpoint> {
    task(async move { calls.endpoint_join(&name, asked).await })
        .await
        .map(Json)
}

/// Takes an endpoint's interface away, and what is published of it; its addresses and names stay.
#[utoipa::path(post, path = routes::ENDPOINT_LEAVE, tag = "endpoints", params(("name" = String, Path, description = "the name")), responses((status = 200, body = Endpoint), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn endpoint_leave<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Answer<Endpoint> {
    task(async move { calls.endpoint_leave(&name).await })
        .await
        .map(Json)
}

/// Detaches a container by its endpoint's id; answers what the endpoint was.
#[utoipa::path(delete, path = routes::ENDPOINT, tag = "endpoints", params(("name" = String, Path, description = "the name")), responses((status = 200, body = Endpoint), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn endpoint_remove<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(name): Named,
) -> Answer<Endpoint> {
    task(async move { calls.detach(Detach::Endpoint(name)).await })
        .await
        .map(Json)
}

/// Detaches a container by its endpoint's id or its interface; answers what the endpoint was.
#[utoipa::path(post, path = routes::DETACH, tag = "endpoints", request_body = Detach, responses((status = 200, body = Endpoint), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist")))]
pub(super) async fn detach<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<Detach>,
) -> Answer<Endpoint> {
    task(async move { calls.detach(asked).await })
        .await
        .map(Json)
}
