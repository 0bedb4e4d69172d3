//! Waiting for a condition: the one place of the project's tests where a pause is allowed.

use anyhow::{Result, bail};
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

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at a condition, and the only one"
)]
fn pause() {
    std::thread::sleep(BETWEEN_LOOKS);
}

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
}
