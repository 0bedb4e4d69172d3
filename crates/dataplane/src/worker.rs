//! A worker thread: sleeps until a port has frames, then carries them.
//!
//! It owns the receiving halves it was given and nobody else touches them. After its last frame it
//! keeps looking for a little while ([`Config::SPIN`] says why), giving way to others; then it is
//! asleep in epoll_wait(2), until the forwarder's deadline if it has one: an idle worker costs
//! nothing. Commands come through a queue; an eventfd wakes it to look there.
//!
//! Each round serves every ready port one batch, so a busy port cannot starve a quiet one, and then
//! does what is due.

use crate::forwarder::Forwarder;
use crate::view::{Published, View};
use crate::{Config, Error, Event};
use arc_swap::Cache;
use crossbeam::channel::{Receiver, Sender};
use nat::Outbox;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use pipeline::{Instant, PortId, WorkerId};
use port::{Gone, Rx};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the control side tells a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Receive from this queue of a port from now on.
    Add(PortId, Box<dyn Rx>),
    /// Let go of every queue of a port.
    Remove(PortId),
    /// Send what the router had to say elsewhere.
    Post(Outbox),
    /// Answer once every earlier command is done and the newest view is in use.
    Sync(Sender<()>),
    /// End.
    Stop,
}

/// What a worker counts of itself. It is the one writer.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    pub(crate) wakeups: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) frames: AtomicU64,
}

/// Everything a worker thread starts with.
#[derive(Debug)]
pub(crate) struct Worker {
    id: WorkerId,
    epoll: Epoll,
    wake: Arc<EventFd>,
    commands: Receiver<Command>,
    events: Sender<Event>,
    view: Cache<Published, Arc<View>>,
    forwarder: Forwarder,
    queues: Vec<Option<(PortId, Box<dyn Rx>)>>,
    activity: Arc<Activity>,
    origin: std::time::Instant,
    config: Config,
    /// The clock, as it was read last: once a round.
    now: Instant,
    /// Whether frames were carried since then.
    carried: bool,
    /// When the last frame was carried.
    last_frame: Instant,
}

/// The epoll key of the eventfd; queues have their index.
const WAKE: u64 = u64::MAX;
/// Ready queues taken from one epoll_wait(2).
const READY: usize = 64;

impl Worker {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, by the dataplane that owns all of it"
    )]
    pub(crate) fn new(
        id: WorkerId,
        config: Config,
        wake: Arc<EventFd>,
        commands: Receiver<Command>,
        events: Sender<Event>,
        published: Published,
        activity: Arc<Activity>,
        origin: std::time::Instant,
    ) -> Result<Self, Error> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(Error::Start)?;
        epoll
            .add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))
            .map_err(Error::Start)?;
        Ok(Self {
            id,
            epoll,
            wake,
            commands,
            events,
            view: Cache::new(published),
            forwarder: Forwarder::new(id, config.limits),
            config,
            now: Instant::ZERO,
            carried: false,
            last_frame: Instant::ZERO,
            queues: Vec::new(),
            activity,
            origin,
        })
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        self.take_priority();
        let mut ready = [EpollEvent::empty(); READY];
        loop {
            let awake = self.quiet() < self.config.spin || self.forwarder.has_offers();
            let timeout = if awake {
                EpollTimeout::ZERO
            } else {
                self.patience()
            };
            let woken = self.epoll.wait(&mut ready, timeout);
            self.read_clock();
            let count = match woken {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(worker = %self.id, %error, "epoll_wait failed, the worker ends");
                    return;
                }
            };
            if !awake {
                bump(&self.activity.wakeups);
            } else if count == 0 {
                // Whoever wants this processor has something better to do than to look.
                std::thread::yield_now();
            }
            for event in &ready[..count] {
                if event.data() == WAKE {
                    if !self.obey() {
                        return;
                    }
                } else {
                    self.serve(event);
                }
            }
            if self.forwarder.has_offers() {
                self.forwarder.end_round(self.view.load(), self.now);
            }
            self.poll();
        }
    }

    /// Returns how long it may sleep. Rounded up, or it would be awake too early, and again and again.
    fn patience(&mut self) -> EpollTimeout {
        let Some(deadline) = self.forwarder.deadline(self.view.load()) else {
            return EpollTimeout::NONE;
        };
        let millis = deadline.since(self.now).as_nanos().div_ceil(1_000_000);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
    }

    /// Does what is due, unless another worker does. The view is loaded after the claim, so that
    /// what a publication made due is done as that publication says.
    fn poll(&mut self) {
        if self.view.load().router.live.due.claim(self.now) {
            self.forwarder.poll(self.view.load(), self.now);
        }
    }

    /// Returns how long ago the last frame was carried, as far as the clock was read.
    fn quiet(&self) -> Duration {
        if self.carried {
            Duration::ZERO
        } else {
            self.now.since(self.last_frame)
        }
    }

    /// The one look at the clock of a round: it dates the round's frames and ends the time of the
    /// round before, whose frames were carried until now.
    fn read_clock(&mut self) {
        self.now = moment(self.origin);
        if std::mem::take(&mut self.carried) {
            self.last_frame = self.now;
        }
    }

    /// Asks for the configured priority. Without the right to it a worker does its work all the
    /// same.
    fn take_priority(&self) {
        // Process 0 is the calling thread (setpriority(2), C library/kernel differences).
        if let Err(error) = rustix::process::setpriority_process(None, self.config.nice) {
            tracing::info!(worker = %self.id, nice = self.config.nice, %error, "keeps its priority");
        }
    }

    /// Serves the queue that `event` names one batch.
    fn serve(&mut self, event: &EpollEvent) {
        let Self {
            queues,
            forwarder,
            view,
            activity,
            now,
            ..
        } = self;
        let index = usize::try_from(event.data()).expect("queue keys are indices");
        // Removed by a command earlier in this very round.
        let Some(Some((port, rx))) = queues.get_mut(index) else {
            return;
        };
        let port = *port;
        let served = forwarder.serve(port, &mut **rx, || (*now, &**view.load()));
        let broken = event
            .events()
            .intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        match served {
            // Level-triggered: an error that reading does not clear would wake us for ever.
            Ok(0) if broken => self.retire(index, port, Gone::Removed),
            Ok(frames) => {
                self.carried |= frames > 0;
                bump(&activity.batches);
                activity
                    .frames
                    .store(activity.frames.load(Relaxed) + frames as u64, Relaxed);
            }
            Err(why) => self.retire(index, port, why),
        }
    }

    /// Lets go of a queue that died, and tells.
    fn retire(&mut self, index: usize, port: PortId, why: Gone) {
        self.close(index);
        // The receiver lives as long as the dataplane; when it is gone nobody is left to tell.
        let _ = self.events.send(Event::PortDied { port, why });
    }

    /// Does what the control side asked for. False when that is to stop.
    fn obey(&mut self) -> bool {
        // Emptied before the queue is read, so that no wake-up is lost between the two.
        let _ = self.wake.read();
        self.view.load();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Add(port, rx) => self.open(port, rx),
                Command::Remove(port) => {
                    let held =
                        |q: &Option<(PortId, _)>| q.as_ref().is_some_and(|(p, _)| *p == port);
                    while let Some(index) = self.queues.iter().position(held) {
                        self.close(index);
                    }
                }
                Command::Post(letters) => {
                    let view = self.view.load();
                    self.forwarder.post(view, self.now, letters);
                }
                Command::Sync(done) => {
                    self.view.load();
                    let _ = done.send(());
                }
                Command::Stop => return false,
            }
        }
        true
    }

    fn open(&mut self, port: PortId, rx: Box<dyn Rx>) {
        let index = self
            .queues
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.queues.len());
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        if let Err(error) = self.epoll.add(rx.as_fd(), event) {
            let _ = self.events.send(Event::PortDied {
                port,
                why: Gone::Io(error.to_string()),
            });
            return;
        }
        if index == self.queues.len() {
            self.queues.push(None);
        }
        self.queues[index] = Some((port, rx));
    }

    fn close(&mut self, index: usize) {
        if let Some((_, rx)) = self.queues[index].take() {
            // Before the close: an epoll set keeps a file open that others still hold.
            let _ = self.epoll.delete(rx.as_fd());
        }
    }
}

/// The dataplane's clock.
pub(crate) fn moment(origin: std::time::Instant) -> Instant {
    Instant::ZERO + HEAD_START + origin.elapsed()
}

/// What the clock says when the dataplane starts: connections that an earlier one began have a
/// beginning on it, too.
const HEAD_START: Duration = Duration::from_hours(24 * 30);

pub(crate) fn new_wake() -> Result<Arc<EventFd>, Error> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    EventFd::from_value_and_flags(0, flags)
        .map(Arc::new)
        .map_err(Error::Start)
}

fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}
