//! The state as it stands in a file, whichever version of the daemon wrote it.

mod version1;

use crate::{Error, State};
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

/// The form that is written. It is raised when an older daemon would misunderstand what is new.
pub const VERSION: u32 = 2;

/// Why a file's state is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A version that this daemon does not know.
    #[error("it has version {0}, this daemon reads versions 1 to {VERSION}")]
    Version(u32),
    /// It is cut off, or says what no state says.
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    /// It has a key that nobody knows: whoever wrote it meant something by it.
    #[error("the key {0} is not known")]
    UnknownKey(String),
    /// It contradicts itself.
    #[error(transparent)]
    Contradiction(#[from] Error),
}

impl State {
    /// Reads a state that was written in the form of `version`, and checks it.
    ///
    /// # Errors
    /// [`FileError`] says what is wrong with it.
    pub fn read(version: u32, mut state: Value) -> Result<Self, FileError> {
        match version {
            1 => version1::upgrade(&mut state),
            VERSION => {}
            0 | 3.. => return Err(FileError::Version(version)),
        }
        let state: Self = read_known(state).map_err(|error| match error {
            FileError::UnknownKey(key) => FileError::UnknownKey(format!("state.{key}")),
            other @ (FileError::Version(_) | FileError::Form(_) | FileError::Contradiction(_)) => {
                other
            }
        })?;
        state.check()?;
        Ok(state)
    }
}

/// Reads a value that stands alone in `text`.
///
/// # Errors
/// It is not whole, or says what `T` does not.
pub fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, FileError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = read_known(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn read_known<'de, T: DeserializeOwned>(
    reader: impl Deserializer<'de, Error = serde_json::Error>,
) -> Result<T, FileError> {
    let mut unknown = None;
    let value = serde_ignored::deserialize(reader, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    })?;
    match unknown {
        Some(key) => Err(FileError::UnknownKey(key)),
        None => Ok(value),
    }
}
