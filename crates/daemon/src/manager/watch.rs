//! What is looked after once a second.
//!
//! A TAP's descriptor keeps its namespace alive, so no event tells of a container's end: its
//! namespace's path is looked at instead (one stat(2) a port), and the descriptor closed when the
//! path is gone, which lets the kernel take the namespace down.

use super::connections;
use super::core::Core;
use super::on_blocking_thread;
use super::open::Condition;
use super::survival::Keeper;
use control::{EndpointId, NamespaceId, PortKind};
use pipeline::PortId;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// The thread that looks after the state. It ends when this is dropped, its work done.
///
/// It is a thread and no task of the runtime, because a tick that goes through the runtime wakes four
/// threads, and an idle machine has better things to do.
#[derive(Debug)]
pub(super) struct Watcher {
    _wanted: Sender<()>,
}

impl Watcher {
    /// Looks after `core` from now on. What that begins runs in the caller's runtime.
    pub(super) fn start(core: Weak<Mutex<Core>>) -> io::Result<Self> {
        let (wanted, until) = mpsc::channel();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("clearway-watch".to_owned())
            .spawn(move || {
                let _in_runtime = runtime.enter();
                let mut keeper = Keeper::default();
                while until.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    let Some(core) = core.upgrade() else { return };
                    let Ok(mut held) = core.lock() else {
                        tracing::error!("looking after namespaces and old addresses has ended");
                        return;
                    };
                    held.handle_events();
                    held.tick();
                    drop(held);
                    keeper.keep(&core);
                }
            })?;
        Ok(Self { _wanted: wanted })
    }
}

/// Hands events of connections on, while somebody watches.
pub(super) async fn relay(core: Weak<Mutex<Core>>) {
    let some = {
        let Some(core) = core.upgrade() else { return };
        let some = core.lock().map(|core| Arc::clone(&core.watchers.some));
        let Ok(some) = some else { return };
        some
    };
    loop {
        some.notified().await;
        let mut watched = true;
        while watched {
            tokio::time::sleep(connections::PERIOD).await;
            let Some(core) = core.upgrade() else { return };
            let done = on_blocking_thread(core, Core::relay_events).await;
            watched = done.unwrap_or(false);
        }
    }
}

const PERIOD: Duration = Duration::from_secs(1);
/// Every place of a forwarding database is swept in this many seconds.
const SWEEP: usize = 16;

impl Core {
    /// Retires what is gone and has old addresses forgotten.
    pub(super) fn tick(&mut self) {
        self.retire_gone();
        self.dataplane.tick();
        self.follow_host();
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
        let is_dead = |port| {
            let open = self.open.get(&port);
            open.is_some_and(|open| matches!(open.condition, Condition::Dead(_)))
        };
        let dead = self
            .state
            .endpoints()
            .find(|e| e.is_in(sandbox) && e.ifname == ifname && is_dead(e.port))
            .map(|e| (e.id, e.port));
        if let Some((endpoint, port)) = dead {
            self.retire(endpoint, port);
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
            PortKind::Tap { .. } | PortKind::Packet { .. } | PortKind::Pcap { .. } => None,
        };
        let dead = Condition::Dead(why.clone());
        if self
            .open
            .get(&id)
            .is_some_and(|open| open.condition != dead)
        {
            tracing::warn!(port = %name, "{why}");
            self.close_as(id, dead);
        }
        if let Some(endpoint) = endpoint {
            self.retire(endpoint, id);
        }
    }

    /// Drops an endpoint whose namespace is gone. While the state file cannot be written it stays,
    /// dead; the next tick tries again.
    fn retire(&mut self, endpoint: EndpointId, port: PortId) {
        let Ok((_, change)) = self.state.detach(endpoint) else {
            return;
        };
        match self.begin(change) {
            Ok(begun) => {
                self.publish(begun);
                self.close_for_good(port);
                self.close_listeners();
                self.live.settle(&self.state);
                tracing::info!(%endpoint, "dropped with its namespace");
            }
            Err(error) => tracing::debug!(%endpoint, %error, "cannot be dropped yet"),
        }
    }
}
