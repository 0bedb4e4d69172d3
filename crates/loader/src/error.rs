//! What the kernel may refuse.

use std::io;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The kernel was built without BPF.
    #[error("cannot {operation}: this kernel has no BPF (CONFIG_BPF_SYSCALL)")]
    NoBpf {
        /// The attempt, in words.
        operation: &'static str,
    },
    /// A capability is missing, or the kernel is locked down.
    #[error("cannot {operation}: not permitted, it takes CAP_BPF and CAP_NET_ADMIN")]
    NotPermitted {
        /// The attempt, in words.
        operation: &'static str,
    },
    /// The verifier refused the program.
    #[error("the verifier refused `{program}` ({error}):\n{log}")]
    Refused {
        /// The program's name.
        program: &'static str,
        /// The kernel's answer.
        error: io::Error,
        /// The verifier's log; its last lines say why.
        log: String,
    },
    /// The map has no room for another key.
    #[error("cannot {operation}: the map is full")]
    Full {
        /// The attempt, in words.
        operation: &'static str,
    },
    /// The interface, the map's entry or the program is not there, or no longer.
    #[error("cannot {operation}: it is gone ({error})")]
    Gone {
        /// The attempt, in words.
        operation: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// Anything else.
    #[error("cannot {operation}: {error}")]
    Io {
        /// The attempt, in words.
        operation: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl LoadError {
    pub(crate) fn new(operation: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => Self::NoBpf { operation },
            Some(libc::EPERM) => Self::NotPermitted { operation },
            Some(libc::E2BIG) => Self::Full { operation },
            Some(libc::ENOENT | libc::ENODEV | libc::ENOLINK) => Self::Gone { operation, error },
            _ => Self::Io { operation, error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_answers_has_a_name() {
        let named = |code| LoadError::new("try", io::Error::from_raw_os_error(code));
        assert!(matches!(named(libc::ENOSYS), LoadError::NoBpf { .. }));
        assert!(matches!(named(libc::EPERM), LoadError::NotPermitted { .. }));
        assert!(matches!(named(libc::E2BIG), LoadError::Full { .. }));
        assert!(matches!(named(libc::ENODEV), LoadError::Gone { .. }));
        assert!(matches!(named(libc::EINVAL), LoadError::Io { .. }));
    }
}
