//! Waiting for a condition: the one place of the project's tests where a pause is allowed.

use anyhow::{Result, bail};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// Returns as soon as `condition` holds.
///
/// The condition is looked at every few milliseconds: what it looks at (a process, a kernel
/// table, a counter) has nothing that could be waited on.
///
/// # Errors
/// When it did not hold within `limit`; the error says `what` was awaited.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() >= limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        pause();
    }
    Ok(())
}

/// Binds a socket, once nobody else has its port.
///
/// A process that another thread is about to start has copies of this one's sockets until it becomes
/// another program, also of a socket that was closed here just now. So a port that nobody seems to
/// have may be taken for a moment.
///
/// # Errors
/// Those of `bind`; that the port is in use when it stays so.
pub fn bind_when_free<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && start.elapsed() < FREED => {
                pause();
            }
            bound => return bound,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at a condition, and the only one"
)]
fn pause() {
    std::thread::sleep(BETWEEN_LOOKS);
}

/// Starting a program takes milliseconds, on a busy machine.
const FREED: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_when_the_condition_holds_and_names_it_when_it_never_does() {
        let mut looks = 0;
        wait_until("the third look", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        })
        .unwrap();
        let error = wait_until("the moon", Duration::from_millis(1), || false).unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
    }

    #[test]
    fn a_port_that_is_in_use_for_a_moment_is_waited_for() {
        let looks = std::cell::Cell::new(0);
        let bound = bind_when_free(|| {
            looks.set(looks.get() + 1);
            match looks.get() {
                3 => Ok("bound"),
                _ => Err(ErrorKind::AddrInUse.into()),
            }
        });
        assert_eq!((bound.unwrap(), looks.get()), ("bound", 3));
        let error = bind_when_free(|| Err::<(), _>(ErrorKind::PermissionDenied.into()));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
