//! From HTTP to checked values, and from refusals back to HTTP.

use crate::{
    Adopt, ApiError, Attach, Detach, EndpointSet, ExplainRequest, FdbAdd, FdbFlush, FdbKey, Filter,
    Join, Name, NetworkCreate, NetworkSet, Policy, PortAdd, PortSet, PublicationCreate,
    TraceRequest, UplinkAdd,
};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Bytes};
use serde::de::DeserializeOwned;

/// A refused request on its way out.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) ApiError);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        tracing::debug!(status = status.as_u16(), message = %self.0, "refused");
        (status, Json(self.0)).into_response()
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

/// A request's body, whose values lie in their ranges. JSON, whatever the content type says.
#[derive(Debug)]
pub(crate) struct Checked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Check> FromRequest<S> for Checked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| ApiError::invalid(error.body_text()))?;
        let value: T = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::invalid(format!("the request's body: {error}")))?;
        value.check()?;
        Ok(Self(value))
    }
}

/// The name in a request's path.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) Name);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) =
            text.map_err(|error: PathRejection| ApiError::invalid(error.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|error: crate::Invalid| ApiError::invalid(error.to_string()).into())
    }
}

/// The query of a URL: the part behind the question mark.
#[derive(Debug)]
pub(crate) struct Queried<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Queried<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let Query(query) =
            query.map_err(|error: QueryRejection| ApiError::invalid(error.body_text()))?;
        Ok(Self(query))
    }
}

/// A body that can be compared with the ranges its fields name.
pub(crate) trait Check {
    /// Refuses what lies outside.
    fn check(&self) -> Result<(), ApiError>;
}

/// Types whose own `check` says everything, and types whose fields cannot be wrong.
macro_rules! checks {
    ($($own:ty),+; $($always_good:ty),+) => {
        $(impl Check for $own {
            fn check(&self) -> Result<(), ApiError> {
                Ok(Self::check(self)?)
            }
        })+
        $(impl Check for $always_good {
            fn check(&self) -> Result<(), ApiError> {
                Ok(())
            }
        })+
    };
}

checks!(
    NetworkCreate, NetworkSet, Attach, Join, Policy, UplinkAdd, Adopt, PublicationCreate, PortAdd, PortSet, FdbAdd, TraceRequest;
    Detach, EndpointSet, FdbKey, FdbFlush, Filter
);

impl Check for ExplainRequest {
    fn check(&self) -> Result<(), ApiError> {
        self.frame.check()
    }
}
