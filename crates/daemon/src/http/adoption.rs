//! Handlers of adopted bridges.

use super::extract::{Checked, Named, Refusal};
use super::handlers::{Answer, Made, task};
use crate::calls::Calls;
use api::routes;
use api::{Adopt, Adoption, ApiError};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;

/// All adopted bridges, in the order they were adopted.
#[utoipa::path(get, path = routes::ADOPTIONS, tag = "adoptions", responses((status = 200, body = Vec<Adoption>)))]
pub(super) async fn adoptions<C: Calls>(State(calls): State<Arc<C>>) -> Answer<Vec<Adoption>> {
    task(async move { calls.adoptions().await }).await.map(Json)
}

/// Adopts a bridge: a network stands in for it.
#[utoipa::path(post, path = routes::ADOPTIONS, tag = "adoptions", request_body = Adopt, responses((status = 201, body = Adoption), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn adopt<C: Calls>(
    State(calls): State<Arc<C>>,
    Checked(asked): Checked<Adopt>,
) -> Made<Adoption> {
    task(async move { calls.adopt(asked).await })
        .await
        .map(|made| (StatusCode::CREATED, Json(made)))
}

/// Gives a bridge its containers back, and takes the network away that stood in for it.
#[utoipa::path(delete, path = routes::ADOPTION, tag = "adoptions", params(("name" = String, Path, description = "the bridge")), responses((status = 204, description = "done"), (status = 400, body = ApiError, description = "a value is outside its range"), (status = 404, body = ApiError, description = "what was named does not exist"), (status = 409, body = ApiError, description = "taken, or still in use")))]
pub(super) async fn release<C: Calls>(
    State(calls): State<Arc<C>>,
    Named(bridge): Named,
) -> Result<StatusCode, Refusal> {
    task(async move { calls.release(&bridge).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}
