//! The watcher: looks after the state once a second, and whenever a port dies. More often, where leases are short,
//! it moves on the time at which they end.
//!
//! A TAP's descriptor keeps its namespace alive, so no event tells of a container's end: its
//! namespace's path is looked at instead (one stat(2) a port), and the descriptor closed when the
//! path is gone, which lets the kernel take the namespace down.

use super::open::{Condition, OpenPort};
use super::survival::Keeper;
use super::writer::Writer;
use control::{EndpointId, NamespaceId, PortKind};
use crossbeam::channel::{Receiver, RecvTimeoutError, Select, Sender, bounded};
use dataplane::Event;
use pipeline::PortId;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The thread that looks after the state. It ends when this is dropped, its work done.
///
/// It is a thread and no task of the runtime, because a tick that goes through the runtime wakes four
/// threads, and an idle machine has better things to do.
#[derive(Debug)]
pub(super) struct Watcher {
    _wanted: Sender<()>,
}

/// The reason for which the thread wakes.
#[derive(Debug, PartialEq, Eq)]
enum Wake {
    Ended,
    Event,
    Time,
}

impl Watcher {
    /// Looks after the state from now on. What that begins runs in the caller's runtime. What the kernel repeats
    /// is let hold on as `often` as that, at least.
    pub(super) fn start(
        writer: &Arc<Mutex<Writer>>,
        events: Receiver<Event>,
        often: Duration,
    ) -> io::Result<Self> {
        let writer = Arc::downgrade(writer);
        let (wanted, until) = bounded(0);
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("clearway-watch".to_owned())
            .spawn(move || {
                let _in_runtime = runtime.enter();
                look_after(&writer, &events, &until, often);
            })?;
        Ok(Self { _wanted: wanted })
    }
}

fn look_after(
    writer: &Weak<Mutex<Writer>>,
    events: &Receiver<Event>,
    until: &Receiver<()>,
    often: Duration,
) {
    let mut keeper = Keeper::default();
    let mut due = Instant::now() + PERIOD;
    loop {
        let wake = wait(due.min(Instant::now() + often), events, until);
        let is_tick = wake == Wake::Time && due <= Instant::now();
        let Some(writer) = writer.upgrade().filter(|_| wake != Wake::Ended) else {
            return;
        };
        let Ok(mut held) = writer.lock() else {
            tracing::error!("looking after namespaces and old addresses has ended");
            return;
        };
        held.kernel.extend();
        if !is_tick && wake != Wake::Event {
            continue;
        }
        held.handle_events();
        if is_tick {
            held.tick();
            due = Instant::now() + PERIOD;
        }
        held.show();
        let (survival, dataplane) = (Arc::clone(&held.survival), Arc::clone(&held.dataplane));
        drop(held);
        if is_tick {
            dataplane.sweep_leases();
            keeper.keep(&survival, &dataplane);
        }
    }
}

/// Waits for the next thing to do. An event stays where it is, for whoever has the state first.
fn wait(due: Instant, events: &Receiver<Event>, until: &Receiver<()>) -> Wake {
    let mut select = Select::new();
    let ended = select.recv(until);
    select.recv(events);
    match select.ready_deadline(due) {
        Ok(ready) if ready == ended => Wake::Ended,
        Ok(_) if !events.is_empty() => Wake::Event,
        // Somebody else took it, or there is no worker any more that could tell of another.
        Ok(_) => match until.recv_deadline(due) {
            Err(RecvTimeoutError::Timeout) => Wake::Time,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Wake::Ended,
        },
        Err(_) => Wake::Time,
    }
}

const PERIOD: Duration = Duration::from_secs(1);
/// Every place of a forwarding database is swept in this many seconds.
const SWEEP: usize = 16;

impl Writer {
    /// Retires what is gone and has old addresses forgotten.
    pub(super) fn tick(&mut self) {
        self.retire_gone();
        // Here and by no worker: it takes milliseconds.
        self.dataplane.router().expire(self.dataplane.now());
        self.follow_host();
        self.tidy_store();
        let now = self.dataplane.now();
        for fdb in self.state.networks().filter_map(|n| self.live.fdb(n.id)) {
            fdb.expire(now, fdb.places().div_ceil(SWEEP));
        }
    }

    /// Retires the ports whose namespace is gone.
    pub(super) fn retire_gone(&mut self) {
        self.find_sandboxes();
        let gone: Vec<PortId> = self
            .open
            .iter()
            .filter(|(_, open)| open.netns.as_ref().is_some_and(|netns| !netns.is_alive()))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.namespace_gone(id);
        }
    }

    /// Retires an endpoint whose interface was removed from within, so that another can take its
    /// place; its namespace may even be another one under the same number.
    pub(super) fn retire_dead(&mut self, sandbox: NamespaceId, ifname: &str) {
        let is_dead = |port| self.open.get(&port).is_some_and(OpenPort::is_dead);
        let dead = self
            .state
            .endpoints()
            .find(|e| e.is_in(sandbox) && e.ifname == ifname && is_dead(e.port))
            .map(|e| e.id);
        if let Some(endpoint) = dead {
            self.retire(endpoint);
        }
    }

    /// Retires one port with its namespace.
    pub(super) fn namespace_gone(&mut self, id: PortId) {
        let Some(port) = self.state.port(id) else {
            return;
        };
        let (name, why) = (
            port.name.clone(),
            "its network namespace is gone".to_owned(),
        );
        let endpoint = match port.kind {
            PortKind::Endpoint(endpoint) => Some(endpoint),
            PortKind::Own { .. } => None,
        };
        let dead = Condition::Dead(why.clone());
        if self
            .open
            .get(&id)
            .is_some_and(|open| *open.condition() != dead)
        {
            tracing::warn!(port = %name, "{why}");
            self.close_as(id, dead);
        }
        if let Some(endpoint) = endpoint {
            self.retire(endpoint);
        }
    }

    /// Drops an endpoint whose namespace is gone. While the state file cannot be written it stays,
    /// dead; the next tick tries again.
    fn retire(&mut self, endpoint: EndpointId) {
        let Ok((_, change)) = self.state.detach(endpoint) else {
            return;
        };
        match self.begin(change) {
            Ok(begun) => {
                self.publish(begun);
                self.live.settle(&self.state);
                tracing::info!(%endpoint, "dropped with its namespace");
            }
            Err(error) => tracing::debug!(%endpoint, %error, "cannot be dropped yet"),
        }
    }
}
