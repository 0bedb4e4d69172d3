//! From what the service answers to HTTP: one function for each kind of answer in the table.

use super::Refusal;
use crate::ApiError;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Serialize;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// 200 with the value.
pub(crate) async fn ok<T: Serialize + Send + 'static>(call: impl Call<T>) -> Reply {
    Ok(Json(run(call).await?).into_response())
}

/// 201 with what was made.
pub(crate) async fn created<T: Serialize + Send + 'static>(call: impl Call<T>) -> Reply {
    Ok((StatusCode::CREATED, Json(run(call).await?)).into_response())
}

/// 204.
pub(crate) async fn done(call: impl Call<()>) -> Reply {
    run(call).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 200 with a line of JSON for each value, as it comes; the body ends when the sender is dropped,
/// and the receiver is dropped when the client hangs up.
pub(crate) async fn stream<T: Serialize + Send + 'static>(
    call: impl Call<mpsc::Receiver<T>>,
) -> Reply {
    let lines = Body::from_stream(unfold(run(call).await?, next_line));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

/// A call with its parameters, ready to be made.
pub(crate) trait Call<T>: FnOnce() -> Result<T, ApiError> + Send + 'static {}

impl<T, F: FnOnce() -> Result<T, ApiError> + Send + 'static> Call<T> for F {}

type Reply = Result<Response, Refusal>;

/// Makes a call on a thread that may block, to its end.
async fn run<T: Send + 'static>(call: impl Call<T>) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer.map_err(Refusal),
        Err(error) => {
            tracing::error!(%error, "a call failed");
            Err(Refusal(ApiError::internal(
                "the daemon failed at this call; its log says where",
            )))
        }
    }
}

async fn next_line<T: Serialize>(
    mut values: mpsc::Receiver<T>,
) -> Option<(Result<Bytes, Infallible>, mpsc::Receiver<T>)> {
    let mut line = serde_json::to_vec(&values.recv().await?).ok()?;
    line.push(b'\n');
    Some((Ok(line.into()), values))
}
