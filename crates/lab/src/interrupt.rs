//! Ctrl-C and SIGTERM.
//!
//! ```text
//!   Working ── signal ──> cleanup, exit code 130
//!      │ ▲
//!   wait() │
//!      ▼ └─ signal ── Waiting          (--keep: the signal is how it is meant to end)
//! ```
//! A thread of its own waits for the signals, so that they are answered at once, whatever the lab
//! is waiting for. It is started after the process has entered its user namespace, which a process
//! of several threads may not.

use anyhow::{Context, Result};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};

/// What is done with a signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    waiting: Arc<Mutex<Option<Sender<()>>>>,
}

impl Interrupt {
    /// Watches for signals from now on; `cleanup` runs before the process ends by one.
    ///
    /// # Errors
    /// When signals cannot be watched.
    pub(crate) fn watch(cleanup: impl Fn() + Send + 'static) -> Result<Self> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot watch for signals")?;
        let (mut int, mut term) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        let watcher = interrupt.clone();
        let one = async move || {
            let (mut int, mut term) = (std::pin::pin!(int.recv()), std::pin::pin!(term.recv()));
            std::future::poll_fn(|context| {
                if int.as_mut().poll(context).is_ready() {
                    return std::task::Poll::Ready(());
                }
                term.as_mut().poll(context).map(drop)
            })
            .await;
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(watcher.serve(one, cleanup)))
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

    async fn serve(self, mut one: impl AsyncFnMut(), cleanup: impl Fn()) {
        loop {
            one().await;
            match self.lock().take() {
                Some(waiting) => {
                    let _ = waiting.send(());
                }
                None => {
                    cleanup();
                    std::process::exit(EXIT_CODE);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 128 and the number of SIGINT, as shells have it.
const EXIT_CODE: i32 = 130;
