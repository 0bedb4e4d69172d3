//! All or nothing: steps in order, undone in reverse when one fails.

use std::fmt;

/// Does `steps` in order. When one fails, those before it are undone, last first.
///
/// # Errors
/// [`Failed`]: the step's error, and what could not be undone.
pub fn execute<S, E>(
    steps: &[S],
    mut act: impl FnMut(&S) -> Result<(), E>,
    mut undo: impl FnMut(&S) -> Result<(), E>,
) -> Result<(), Failed<E>> {
    for (done, step) in steps.iter().enumerate() {
        if let Err(error) = act(step) {
            let left_behind = teardown(steps[..done].iter().rev(), &mut undo);
            return Err(Failed { error, left_behind });
        }
    }
    Ok(())
}

/// Does every one of `steps`, whatever happens, and lists what failed.
#[must_use = "what could not be torn down is still there"]
pub fn teardown<'a, S: 'a, E>(
    steps: impl IntoIterator<Item = &'a S>,
    act: impl FnMut(&S) -> Result<(), E>,
) -> Vec<E> {
    steps.into_iter().map(act).filter_map(Result::err).collect()
}

/// Why the steps were not done.
#[derive(Debug)]
pub struct Failed<E> {
    /// The error of the step that failed.
    pub error: E,
    /// The errors of undoing the steps before it: empty when nothing is left behind.
    pub left_behind: Vec<E>,
}

/// A failure before anything was done.
impl<E> From<E> for Failed<E> {
    fn from(error: E) -> Self {
        Self {
            error,
            left_behind: Vec::new(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        self.left_behind
            .iter()
            .try_for_each(|error| write!(f, "; moreover, undoing it: {error}"))
    }
}

impl<E: std::error::Error> std::error::Error for Failed<E> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Runs steps 1 to 4 with failures of the given steps; answers what was done and the outcome.
    fn run(fail: i32, fail_undo: i32) -> (Vec<i32>, Result<(), Failed<i32>>) {
        let log = RefCell::new(Vec::new());
        let step = |n: i32, fails: bool| {
            log.borrow_mut().push(n);
            if fails { Err(n) } else { Ok(()) }
        };
        let result = execute(
            &[1, 2, 3, 4],
            |&n| step(n, n == fail),
            |&n| step(-n, n == fail_undo),
        );
        (log.into_inner(), result)
    }

    #[test]
    fn nothing_is_undone_when_all_went_well() {
        let (log, result) = run(0, 0);
        assert_eq!(log, [1, 2, 3, 4]);
        assert!(result.is_ok());
    }

    #[test]
    fn what_was_done_is_undone_in_reverse_past_further_failures() {
        let (log, result) = run(4, 2);
        assert_eq!(log, [1, 2, 3, 4, -3, -2, -1]);
        let failed = result.unwrap_err();
        assert_eq!((failed.error, &failed.left_behind[..]), (4, &[-2][..]));
        assert_eq!(failed.to_string(), "4; moreover, undoing it: -2");
    }
}
