//! The few kernel calls that no safe wrapper exists for.

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

/// Makes `command` enter `spaces` and die with the thread that spawns it.
pub(crate) fn enter_before_exec(command: &mut Command, spaces: Arc<[(OwnedFd, CloneFlags)]>) {
    let parent = nix::unistd::getpid();
    let enter = move || {
        for (space, kind) in spaces.iter() {
            setns(space, *kind)?;
        }
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The signal is sent when the parent dies from now on: it may have died before.
        if nix::unistd::getppid() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls (setns, prctl, getppid),
    // all async-signal-safe; it takes no lock and does not allocate: an `io::Error` made of an
    // errno holds no memory. The descriptors live as long as the closure that owns them.
    unsafe { command.pre_exec(enter) };
}

/// Sets the loopback interface of the calling thread's network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: `ifreq` is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = IFF_UP;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which outlives the call, and writes nothing; the
    // descriptor is open while `socket` lives.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `IFF_UP` in the type that `ifreq` holds flags in.
const IFF_UP: libc::c_short = 1;
