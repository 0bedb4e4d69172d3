//! Interfaces that go while others are served.
//!
//! The kernel takes some 35 ms to remove a veth. Whoever asked waits for it, and nobody else: of a hundred
//! containers that end at once each is done with when its own is gone.

use super::open::Interface;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Removals that were begun. Dropping this waits for them.
#[derive(Debug, Default)]
pub(super) struct Removals(Vec<JoinHandle<()>>);

impl Removals {
    /// Lets go of what was behind a port.
    pub(super) fn begin(&mut self, interface: Interface) {
        if !interface.is_slow_to_go() {
            interface.let_go();
            return;
        }
        self.0.retain(|thread| !thread.is_finished());
        let interface = Arc::new(interface);
        let theirs = Arc::clone(&interface);
        let thread = std::thread::Builder::new().name("clearway-remove".to_owned());
        match thread.spawn(move || theirs.let_go()) {
            Ok(thread) => self.0.push(thread),
            Err(_) => interface.let_go(),
        }
    }
}

impl Drop for Removals {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            if thread.join().is_err() {
                tracing::error!("removing an interface had panicked");
            }
        }
    }
}
