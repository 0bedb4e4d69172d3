//! The thread that does at once what no worker may wait for: it hears of flows that the kernel has begun, and tidies up
//! after a publication, which has taken back all leases. A connection is lent anew once its old leases are settled.
//!
//! The first one wakes it. Those that begin while it is not waiting wake nobody, so it lets a little time pass
//! before it waits anew: many connections a second wake it as often as few. A worker that is about to carry
//! packets of such flows does not wait for it.

use crate::begun::take_begun;
use crate::sweep::sweep;
use crate::view::{Published, View};
use crate::worker::{self, Command};
use crate::{Error, Sending};
use lease::Leases;
use nat::Outbox;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    stop: Arc<EventFd>,
    tidy: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// The things it works with.
#[derive(Debug)]
struct Ear {
    /// Readable when the kernel has begun a flow.
    begun: OwnedFd,
    /// Readable when leases were taken back.
    tidy: Arc<EventFd>,
    leases: Arc<Leases>,
    published: Published,
    letters: Sending,
    origin: Instant,
}

/// The time in which flows are left to come together, in milliseconds.
const REST: u8 = 1;

impl Listener {
    /// Listens to a descriptor that is readable when a flow was begun. What the router has to say is told to a worker.
    pub(crate) fn start(
        (leases, begun): (&Arc<Leases>, OwnedFd),
        published: &Published,
        letters: Sending,
        origin: Instant,
    ) -> Result<Self, Error> {
        let [stop, tidy] = [worker::new_wake()?, worker::new_wake()?];
        let ear = Ear {
            begun,
            tidy: Arc::clone(&tidy),
            leases: Arc::clone(leases),
            published: Arc::clone(published),
            letters,
            origin,
        };
        let until = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("clearway-begun".to_owned())
            .spawn(move || ear.listen(&until))
            .map_err(Error::Thread)?;
        Ok(Self {
            stop,
            tidy,
            thread: Some(thread),
        })
    }

    /// Has what was taken back tidied up.
    pub(crate) fn tidy(&self) {
        let _ = self.tidy.write(1);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        let thread = self.thread.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that hears of begun flows had panicked");
        }
    }
}

impl Ear {
    fn listen(&self, stop: &EventFd) {
        loop {
            let [stop, begun, tidy] = [stop.as_fd(), self.begun.as_fd(), self.tidy.as_fd()];
            if is_ready(&[stop, begun, tidy], PollTimeout::NONE) {
                return;
            }
            self.work();
            if is_ready(&[stop], REST.into()) {
                return;
            }
        }
    }

    fn work(&self) {
        // Before the view is loaded: what is taken back from now on says so anew.
        let is_taken_back = self.tidy.read().is_ok();
        let (view, now) = (self.published.load_full(), worker::moment(self.origin));
        let mut letters = Outbox::default();
        take_begun(&self.leases, &view, now, &mut letters);
        if is_taken_back {
            let View {
                topology, router, ..
            } = &*view;
            sweep(&self.leases, topology, router, now, &mut letters);
        }
        if !letters.is_empty() {
            self.letters.tell(Command::Post(letters));
        }
        if self.leases.is_crowded() {
            self.leases.settle(&view.router.live.tables, now);
        }
    }
}

/// Waits for any of these, and returns whether the first one is ready; so it is taken for when nothing can be waited
/// for.
fn is_ready(fds: &[BorrowedFd<'_>], timeout: PollTimeout) -> bool {
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, timeout) {
        Ok(_) => fds[0].any().unwrap_or(true),
        Err(nix::errno::Errno::EINTR) => false,
        Err(error) => {
            tracing::error!(%error, "flows that the kernel begins are heard of late");
            true
        }
    }
}
