//! Programs in the kernel.

use crate::{LoadError, Maps, sys};
use bpf::{Program, SkBuff};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The verifier's log: room at first, and at most.
const LOG: usize = 1 << 16;
const LONGEST_LOG: usize = 1 << 24;

/// A program that the verifier passed. It is gone with its last descriptor and the last place it hangs at.
#[derive(Debug)]
pub struct Loaded {
    fd: OwnedFd,
    name: &'static str,
}

impl AsFd for Loaded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The answer of a test run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// The program's answer, one of [`bpf::verdict`].
    pub verdict: i32,
    /// The packet after it.
    pub bytes: Vec<u8>,
    /// The context that the kernel returns: marks, priority, `cb`, times, segments.
    pub context: SkBuff,
}

impl Loaded {
    /// Loads a program with its maps.
    ///
    /// # Errors
    /// [`LoadError::Refused`] with the verifier's log.
    pub fn load(program: &Program, maps: &Maps) -> Result<Self, LoadError> {
        let name = program.name();
        let bytes = program.encode(|map| maps[map].as_fd().as_raw_fd());
        match sys::load(name, &bytes, &mut []) {
            Ok(fd) => Ok(Self { fd, name }),
            Err(error) => Err(refused(name, &bytes, error)),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The number by which the kernel knows it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn id(&self) -> Result<u32, LoadError> {
        let info = sys::program_info(self.as_fd());
        info.map(|info| info.id)
            .map_err(|error| LoadError::new("ask for a program's number", error))
    }

    /// Runs it once on a packet of at least 14 bytes. Of the context, `ifindex`, `mark`, `priority`, `cb`,
    /// `tstamp` and what describes segments can be given; the kernel refuses all others.
    ///
    /// A redirect is answered, not carried out.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn test_run(&self, packet: &[u8], context: &SkBuff) -> Result<TestRun, LoadError> {
        // Room for what a program may add: tags, at most.
        let mut bytes = vec![0; packet.len() + 256];
        let run = sys::test_run(self.as_fd(), packet, context, &mut bytes)
            .map_err(|error| LoadError::new("run a program on a packet", error))?;
        bytes.truncate(run.length);
        Ok(TestRun {
            verdict: run.answer.cast_signed(),
            bytes,
            context: run.context,
        })
    }
}

/// Says why a program was not loaded: once more, with room for the verifier's log.
fn refused(program: &'static str, bytes: &[u8], error: io::Error) -> LoadError {
    let judged = [libc::EACCES, libc::EINVAL, libc::E2BIG];
    if !error
        .raw_os_error()
        .is_some_and(|code| judged.contains(&code))
    {
        return LoadError::new("load a program", error);
    }
    let mut log = vec![0; LOG];
    while let Err(error) = sys::load(program, bytes, &mut log) {
        let is_short = error.raw_os_error() == Some(libc::ENOSPC);
        if !is_short || log.len() >= LONGEST_LOG {
            break;
        }
        log.resize(log.len() * 8, 0);
    }
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..end]).trim_end().to_owned();
    LoadError::Refused {
        program,
        error,
        log,
    }
}
