//! Services that packages bring are not started while they are installed.
//!
//! Packages' scripts ask `/usr/sbin/policy-rc.d` before they start one (Debian policy 9.3.3.1:
//! exit status 101 forbids it). Where there is none, one stands there as long as a [`Forbidden`]
//! lives. A machine that has one keeps it as it is: it is the administrator's, and others read it
//! at the same time. `apt-get` then runs where another file is mounted over it, which nobody else
//! sees. (The run level in the environment, the older way, is not asked for by systemd's units.)
//!
//! A run that was killed leaves its file; the next one knows it by its words and takes it away.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// What packages' scripts ask.
pub(super) const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The answer; its comment tells whose it is.
const NO: &str = "#!/bin/sh\n# Of a chore that installs packages, and gone with it.\nexit 101\n";
const EXECUTABLE: u32 = 0o755;

/// While this lives, programs it makes start no service.
#[derive(Debug)]
pub(super) enum Forbidden {
    /// By a file of ours, removed on drop.
    Here(PathBuf),
    /// By a file that is mounted over another's.
    Over {
        /// The other's.
        policy: PathBuf,
        /// Ours.
        ours: tempfile::TempPath,
    },
}

impl Forbidden {
    /// Forbids them by the file `policy`.
    ///
    /// # Errors
    /// When it cannot be written: it takes root.
    pub(super) fn by(policy: &Path) -> Result<Self> {
        let cannot = || format!("cannot forbid services' start by {}", policy.display());
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(EXECUTABLE)
            .open(policy);
        match made {
            Ok(mut file) => {
                let here = Self::Here(policy.to_owned());
                file.write_all(NO.as_bytes()).with_context(cannot)?;
                Ok(here)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs::read(policy).is_ok_and(|text| text == NO.as_bytes()) {
                    return Ok(Self::Here(policy.to_owned()));
                }
                Self::over(policy).with_context(cannot)
            }
            Err(error) => Err(error).with_context(cannot),
        }
    }

    fn over(policy: &Path) -> Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(NO.as_bytes())?;
        // What is open for writing cannot be executed.
        let ours = file.into_temp_path();
        fs::set_permissions(&ours, fs::Permissions::from_mode(EXECUTABLE))?;
        let policy = policy.to_owned();
        Ok(Self::Over { policy, ours })
    }

    /// `program`, that starts no service.
    pub(super) fn command(&self, program: &str) -> Command {
        match self {
            Self::Here(_) => Command::new(program),
            Self::Over { policy, ours } => {
                let mut command = Command::new("unshare");
                command
                    .args(["--mount", "sh", "-c", OVER])
                    .arg(ours)
                    .arg(policy)
                    .arg(program);
                command
            }
        }
    }
}

/// `ours` is `$0`, the policy `$1`, the program and its arguments follow.
const OVER: &str = r#"mount --bind "$0" "$1" && shift && exec "$@""#;

impl Drop for Forbidden {
    fn drop(&mut self) {
        if let Self::Here(policy) = self {
            // One that stays forbids too much, not too little, and the next run takes it away.
            let _ = fs::remove_file(policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a package's script is told by the policy at `policy`.
    pub(super) fn asked(forbidden: &Forbidden, policy: &Path) -> Option<i32> {
        let status = forbidden
            .command("sh")
            .arg("-c")
            .arg(format!("'{}' docker start", policy.display()))
            .status();
        status.unwrap().code()
    }

    #[test]
    fn where_there_is_no_policy_there_is_one_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy-rc.d");
        let forbidden = Forbidden::by(&policy).unwrap();
        assert_eq!(asked(&forbidden, &policy), Some(101));
        drop(forbidden);
        assert!(!policy.exists());
        // One that a killed run left is taken for ours.
        fs::write(&policy, NO).unwrap();
        drop(Forbidden::by(&policy).unwrap());
        assert!(!policy.exists());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = Forbidden::by(Path::new("/nonexistent/policy-rc.d")).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/policy-rc.d"),
            "{error}"
        );
    }
}

/// To mount a file over another takes root.
#[cfg(test)]
mod kernel_tests {
    use super::tests::asked;
    use super::*;

    #[test]
    fn anothers_policy_stays_and_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy-rc.d");
        let theirs = "#!/bin/sh\nexit 0\n";
        fs::write(&policy, theirs).unwrap();
        fs::set_permissions(&policy, fs::Permissions::from_mode(EXECUTABLE)).unwrap();
        let forbidden = Forbidden::by(&policy).unwrap();
        assert_eq!(asked(&forbidden, &policy), Some(101));
        // Others see theirs meanwhile.
        assert_eq!(Command::new(&policy).status().unwrap().code(), Some(0));
        drop(forbidden);
        assert_eq!(fs::read_to_string(&policy).unwrap(), theirs);
    }
}
