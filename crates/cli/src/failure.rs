//! Why a command failed, and the exit code that says so.

use api::ClientError;
use std::io;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon refused, or does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The command line makes no sense, in a way only the whole of it shows.
    #[error("{0}")]
    Usage(String),
    /// Some of several things failed; each was told.
    #[error("{}", .0.join("\nclearway: "))]
    Several(Vec<String>),
    /// A file that was named cannot be used.
    #[error("{0}")]
    File(String),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
}

impl Failure {
    /// 2 for a command line that makes no sense, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Client(_) | Self::Several(_) | Self::File(_) | Self::Write(_) => {
                ExitCode::FAILURE
            }
        }
    }
}

/// Does `each` of `things` and goes on when one fails; every failure is told at the end.
pub(crate) fn for_each<T>(
    things: &[T],
    mut each: impl FnMut(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for thing in things {
        match each(thing) {
            Ok(()) => {}
            Err(Failure::Client(error)) => failures.push(error.to_string()),
            Err(other) => return Err(other),
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::Several(failures))
    }
}
