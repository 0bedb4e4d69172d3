//! Ctrl-C and SIGTERM.
//!
//! ```text
//!   Working ── signal ──> end, exit code 130
//!      │ ▲
//!   wait() │
//!      ▼ └─ signal ── Waiting          (--keep: the signal is how it is meant to end)
//! ```
//! A thread of its own waits for the signals, so that they are answered at once, whatever the lab
//! is waiting for. It is started after the process has entered its user namespace, which a process
//! of several threads may not.

use anyhow::{Context, Result};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The watch for signals, and whoever waits for one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    waiting: Arc<Mutex<Option<Sender<()>>>>,
}

impl Interrupt {
    /// Watches for signals from now on; `end` takes everything away and ends the process with the
    /// exit code it is given.
    ///
    /// # Errors
    /// When signals cannot be watched.
    pub(crate) fn watch(end: impl Fn(i32) -> Infallible + Send + 'static) -> Result<Self> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot watch for signals")?;
        let signals = {
            let _inside = runtime.enter();
            [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ]
        };
        let watcher = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(watcher.serve(signals, end)))
            .context("cannot watch for signals")?;
        Ok(interrupt)
    }

    /// Blocks until a signal arrives, which then does nothing else.
    pub(crate) fn wait(&self) {
        let (sender, receiver) = channel();
        *self.lock() = Some(sender);
        // The other end cannot be gone: it is in our own hands.
        let _ = receiver.recv();
    }

    async fn serve(self, mut signals: [Signal; 2], end: impl Fn(i32) -> Infallible) {
        loop {
            poll_fn(|context| {
                let arrived = |signal: &mut Signal| signal.poll_recv(context).is_ready();
                if signals.iter_mut().any(arrived) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            match self.lock().take() {
                // Whoever waits is there: it waits for this alone.
                Some(waiting) => drop(waiting.send(())),
                None => match end(EXIT_CODE) {},
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 128 and the number of SIGINT, as shells have it.
const EXIT_CODE: i32 = 130;
