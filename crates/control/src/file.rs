//! The state as it stands in a file, whichever version of the daemon wrote it.

mod version1;
mod version2;

use crate::{Change, Error, State};
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

/// The form that is written. It is raised when an older daemon would misunderstand what is new.
pub const VERSION: u32 = 5;

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
        if !(1..=VERSION).contains(&version) {
            return Err(FileError::Version(version));
        }
        if version < 2 {
            version1::upgrade(&mut state);
        }
        if version < 3 {
            version2::upgrade(&mut state);
        }
        let state: Self = read_known(state).map_err(|error| error.below("state"))?;
        state.check()?;
        Ok(state)
    }

    /// Reads a change to this state that was written in the form of `version`.
    ///
    /// # Errors
    /// [`FileError`] says what is wrong with it.
    pub fn read_change(&self, version: u32, mut change: Value) -> Result<Change, FileError> {
        if version < 3 {
            version2::upgrade_change(&mut change, self.seed());
        }
        read_known(change).map_err(|error| error.below("change"))
    }
}

impl FileError {
    /// Names the value that a key is below.
    fn below(self, of: &str) -> Self {
        match self {
            Self::UnknownKey(key) => Self::UnknownKey(format!("{of}.{key}")),
            Self::Version(_) | Self::Form(_) | Self::Contradiction(_) => self,
        }
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
