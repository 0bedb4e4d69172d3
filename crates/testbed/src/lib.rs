//! Private network namespaces and traffic for tests, benches and the lab.
//!
//! Everything here makes what it needs in namespaces of its own and leaves nothing behind: a
//! [`Namespace`] has no name and lives exactly as long as its file descriptor, so neither a panic
//! nor SIGKILL leaks one. Nothing touches the namespace that the process was started in.
//!
//! * [`Namespace`]: make one, run closures and programs inside.
//! * [`Child`], [`wait_until`]: programs that never outlive their test; conditions, not pauses.
//! * [`link`]: veth pairs, bridges, by way of `ip`: for tests.
//! * [`docker`]: Docker's engine, on a machine of its own: for tests.
//! * [`traffic`]: ping, TCP and UDP without external programs: for tests and the lab.

mod child;
pub mod docker;
pub mod link;
mod namespace;
#[allow(unsafe_code)]
mod sys;
pub mod traffic;
mod wait;

pub use child::Child;
pub use namespace::Namespace;
pub use wait::{bind_when_free, wait_until};

/// Says on standard error why a test cannot run here, and fails it where `CI=true`: a test that is
/// skipped in silence is worse than none.
///
/// # Panics
/// When the environment has `CI=true`.
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub fn cannot_run(why: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "cannot run: {why}"
    );
    eprintln!("skipped: {why}");
}
