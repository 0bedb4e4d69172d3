//! The interface over HTTP: a route each call, JSON in and out, errors as [`api::ApiError`].
//!
//! A request is checked as far as that goes without the state, then made into one call of
//! [`Calls`]. The call runs as a task of its own: a client that hangs up in the middle of an
//! attach must not leave half an attach behind, and a call that panics is one refused request and
//! not the end of the daemon.

mod adoption;
mod endpoints;
mod extract;
mod gateway;
mod handlers;

use crate::calls::Calls;
use api::{ApiError, routes};
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use extract::Refusal;
use std::sync::Arc;
use utoipa::OpenApi;

/// Answers every route of [`routes::ALL`] with `calls`.
pub fn router<C: Calls>(calls: Arc<C>) -> Router {
    Router::new()
        .route(
            routes::NETWORKS,
            get(handlers::networks::<C>).post(handlers::network_create::<C>),
        )
        .route(
            routes::NETWORK,
            get(handlers::network::<C>)
                .patch(handlers::network_set::<C>)
                .delete(handlers::network_remove::<C>),
        )
        .route(
            routes::ENDPOINTS,
            get(endpoints::endpoints::<C>).post(endpoints::attach::<C>),
        )
        .route(
            routes::ENDPOINT,
            get(endpoints::endpoint::<C>)
                .patch(endpoints::endpoint_set::<C>)
                .delete(endpoints::endpoint_remove::<C>),
        )
        .route(routes::ENDPOINT_JOIN, post(endpoints::endpoint_join::<C>))
        .route(routes::ENDPOINT_LEAVE, post(endpoints::endpoint_leave::<C>))
        .route(
            routes::POLICY,
            get(gateway::policy::<C>)
                .post(gateway::policy_set::<C>)
                .delete(gateway::policy_clear::<C>),
        )
        .route(
            routes::UPLINKS,
            get(gateway::uplinks::<C>).post(gateway::uplink_add::<C>),
        )
        .route(routes::UPLINK, delete(gateway::uplink_remove::<C>))
        .route(
            routes::PUBLICATIONS,
            get(gateway::publications::<C>).post(gateway::publish::<C>),
        )
        .route(routes::PUBLICATION, delete(gateway::unpublish::<C>))
        .route(
            routes::ADOPTIONS,
            get(adoption::adoptions::<C>).post(adoption::adopt::<C>),
        )
        .route(routes::ADOPTION, delete(adoption::release::<C>))
        .route(routes::NAT, get(gateway::nat::<C>))
        .route(routes::NAT_FLUSH, post(gateway::nat_flush::<C>))
        .route(routes::NAT_WATCH, get(gateway::nat_watch::<C>))
        .route(routes::DOCTOR, get(handlers::doctor::<C>))
        .route(routes::DOCTOR_CLEAN, post(handlers::doctor_clean::<C>))
        .route(routes::DETACH, post(endpoints::detach::<C>))
        .route(
            routes::PORTS,
            get(handlers::ports::<C>).post(handlers::port_add::<C>),
        )
        .route(
            routes::PORT,
            get(handlers::port::<C>)
                .patch(handlers::port_set::<C>)
                .delete(handlers::port_remove::<C>),
        )
        .route(
            routes::FDB,
            get(handlers::fdb::<C>).post(handlers::fdb_add::<C>),
        )
        .route(routes::FDB_REMOVE, post(handlers::fdb_remove::<C>))
        .route(routes::FDB_FLUSH, post(handlers::fdb_flush::<C>))
        .route(routes::DROPS, get(handlers::drops::<C>))
        .route(routes::STATUS, get(handlers::status::<C>))
        .route(routes::EXPLAIN, post(handlers::explain::<C>))
        .route(routes::OPENAPI, get(handlers::openapi))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(calls)
}

/// The interface's description.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Where [`openapi`] gathers the handlers' descriptions; the schemas come with them.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Clearway",
        description = "A userspace switch for containers, over its unix socket.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        handlers::networks,
        handlers::network_create,
        handlers::network,
        handlers::network_set,
        handlers::network_remove,
        endpoints::endpoints,
        endpoints::attach,
        endpoints::endpoint,
        endpoints::endpoint_set,
        endpoints::endpoint_join,
        endpoints::endpoint_leave,
        endpoints::endpoint_remove,
        gateway::policy,
        gateway::policy_set,
        gateway::policy_clear,
        gateway::uplinks,
        gateway::uplink_add,
        gateway::uplink_remove,
        gateway::publications,
        gateway::publish,
        gateway::unpublish,
        adoption::adoptions,
        adoption::adopt,
        adoption::release,
        gateway::nat,
        gateway::nat_flush,
        gateway::nat_watch,
        handlers::doctor,
        handlers::doctor_clean,
        endpoints::detach,
        handlers::ports,
        handlers::port_add,
        handlers::port,
        handlers::port_set,
        handlers::port_remove,
        handlers::fdb,
        handlers::fdb_add,
        handlers::fdb_remove,
        handlers::fdb_flush,
        handlers::drops,
        handlers::status,
        handlers::explain,
        handlers::openapi,
    )
)]
struct Description;

async fn no_such_route(method: Method, uri: Uri) -> Refusal {
    Refusal(ApiError::not_found(format!(
        "there is no route {method} {}; {} lists them",
        uri.path(),
        routes::OPENAPI
    )))
}

async fn no_such_method(method: Method, uri: Uri) -> (StatusCode, Json<ApiError>) {
    let error = ApiError::invalid(format!(
        "{} takes no {method}; {} lists what it takes",
        uri.path(),
        routes::OPENAPI
    ));
    (StatusCode::METHOD_NOT_ALLOWED, Json(error))
}

#[cfg(test)]
mod tests;
