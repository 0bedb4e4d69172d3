//! The interface over HTTP: a route for each call of the table, JSON in and out, errors as [`ApiError`].
//!
//! A request is checked as far as that goes without the state, then made into one call of the
//! [`Service`]. The call runs on a thread that may block, and to its end: a client that hangs up in
//! the middle of an attach must not leave half an attach behind, and a call that panics is one
//! refused request and not the end of the daemon.

mod extract;
pub(crate) mod reply;

use crate::calls::{described, routes};
use crate::{ApiError, Method, OPENAPI, Service};
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use axum::{Json, Router};
pub(crate) use extract::{Checked, Named, Queried, Refusal};
use std::sync::Arc;
use utoipa::OpenApi;

/// Answers every call with `service`, and [`OPENAPI`] with the calls' description.
pub fn router<S: Service>(service: Arc<S>) -> Router {
    routes::<S>()
        .route(OPENAPI, get(async || Json(openapi())))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(service)
}

/// The interface's description.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi().merge_from(described::Calls::openapi())
}

/// The frame of [`openapi`]; the calls come from their table.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Clearway",
        description = "A userspace switch for containers, over its unix socket.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(openapi_of_itself)
)]
struct Description;

/// This description.
#[utoipa::path(get, path = OPENAPI, operation_id = "openapi", tag = "watch", responses((status = 200, description = "OpenAPI 3.1")))]
#[expect(dead_code, reason = "it only carries its attribute")]
fn openapi_of_itself() {}

async fn no_such_route(method: Method, uri: Uri) -> Refusal {
    Refusal(ApiError::not_found(format!(
        "there is no route {method} {}; {OPENAPI} lists them",
        uri.path()
    )))
}

async fn no_such_method(method: Method, uri: Uri) -> (StatusCode, Json<ApiError>) {
    let error = ApiError::invalid(format!(
        "{} takes no {method}; {OPENAPI} lists what it takes",
        uri.path()
    ));
    (StatusCode::METHOD_NOT_ALLOWED, Json(error))
}

#[cfg(test)]
mod tests;
