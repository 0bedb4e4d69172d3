//! Errors: for whoever starts the plugin, and for whoever waits at `docker run`.

use crate::portmap::Ports;
use api::socket::BindError;
use api::{ApiError, ClientError, ErrorCode, Invalid};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why dockerd cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The step that was tried, as a verb.
        what: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}

/// Why a call of dockerd's is refused: the text that `docker` prints.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// A body that the method does not take.
    #[error("the request's body: {0}")]
    Body(#[from] serde_json::Error),
    /// An option that does not do.
    #[error("option {key}: {why}")]
    Option {
        /// Its name.
        key: String,
        /// The value and what is allowed.
        why: String,
    },
    /// A network that is not there.
    #[error("Clearway has no network for Docker's {0}; remove it in Docker and make it anew")]
    NoNetwork(String),
    /// An endpoint that is not there.
    #[error("Clearway has no endpoint for Docker's {0}")]
    NoEndpoint(String),
    /// Docker's id is taken by something else.
    #[error("Clearway has made {what} {id} already, from another request")]
    Differs {
        /// Network or endpoint.
        what: &'static str,
        /// Docker's id.
        id: String,
    },
    /// An id that nothing can be named after.
    #[error("Docker's id `{id}` does not do: {why}")]
    BadId {
        /// The id.
        id: String,
        /// Why not.
        why: String,
    },
    /// A network without a gateway that is not internal.
    #[error("gateway mode isolated is for internal networks only; say --internal as well")]
    NotInternal,
    /// A published port that cannot be had; Docker's own words, and ours.
    #[error("Bind for {} failed: port is already allocated ({why})", shown(*host, ports))]
    PortTaken {
        /// The host's address.
        host: Option<IpAddr>,
        /// The port.
        ports: Ports,
        /// Who has it.
        why: ApiError,
    },
    /// None of the ports can be had.
    #[error("Bind for {} failed: all ports are allocated{}", shown(*host, ports), because(why.as_ref()))]
    NoPortFree {
        /// The host's address.
        host: Option<IpAddr>,
        /// The ports tried.
        ports: Ports,
        /// The error of the last one, if one was tried at all.
        why: Option<ApiError>,
    },
    /// A binding that means nothing.
    #[error("port binding {binding}: {why}")]
    Binding {
        /// As Docker says it.
        binding: String,
        /// The reason, and what is allowed.
        why: String,
    },
    /// A refusal of the address pools.
    #[error(transparent)]
    Pools(#[from] crate::ipam::PoolError),
    /// An error of the pools' state file.
    #[error("cannot remember the change in {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// A refusal of Clearway's daemon, or that there is none.
    #[error(transparent)]
    Clearway(#[from] ClientError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Clearway(error.into())
    }
}

impl From<Invalid> for Refusal {
    fn from(error: Invalid) -> Self {
        ApiError::from(error).into()
    }
}

/// Returns what the daemon says no with, if it was the daemon and this was its code.
pub(crate) fn refused_with(error: &ClientError, wanted: ErrorCode) -> Option<&ApiError> {
    match error {
        ClientError::Refused(refusal) if refusal.code == wanted => Some(refusal),
        ClientError::Refused(_)
        | ClientError::NoDaemon { .. }
        | ClientError::NotAllowed { .. }
        | ClientError::NoAnswer { .. }
        | ClientError::NotUnderstood { .. } => None,
    }
}

/// Content when what was to be taken away is gone.
pub(crate) fn gone<T>(answer: Result<T, ClientError>) -> Result<(), ClientError> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if refused_with(&error, ErrorCode::NotFound).is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

fn shown(host: Option<IpAddr>, ports: &Ports) -> String {
    match host {
        None => format!("0.0.0.0:{ports}"),
        Some(IpAddr::V4(host)) => format!("{host}:{ports}"),
        Some(IpAddr::V6(host)) => format!("[{host}]:{ports}"),
    }
}

fn because(why: Option<&ApiError>) -> String {
    why.map_or_else(String::new, |why| format!(" ({why})"))
}
