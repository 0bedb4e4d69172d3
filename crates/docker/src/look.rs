//! Errors and times of a look at both sides, whoever looks: dockerd's answers and events, and Clearway's own.

use crate::names::AskError;
use api::ClientError;
use std::time::Duration;

/// Without an event, there is a look after so long all the same.
pub(crate) const IDLE: Duration = Duration::from_secs(300);

/// Why there is no look.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Docker(#[from] AskError),
    #[error(transparent)]
    Clearway(#[from] ClientError),
    #[error("a look ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Asks Clearway, whose client blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, LookError> {
    Ok(tokio::task::spawn_blocking(call).await??)
}

/// Something happened, or dockerd will tell no more.
pub(crate) fn arrived(event: Option<Result<(), AskError>>) -> Result<(), AskError> {
    event.unwrap_or(Err(AskError::Ended))
}
