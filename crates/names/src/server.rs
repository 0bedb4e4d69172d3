//! The sockets: whose they are, and the tasks that serve them.
//!
//! Each socket stands on a network's gateway address, in whichever namespace that is; which one was
//! asked says for which network. Networks come and go while the server runs.
//!
//! A [`Server`] may be cloned and used from any thread; clones are one server, which ends with the
//! last of them.

mod serve;
mod tcp;
mod udp;

use crate::counters::Counters;
use crate::forward::Forwarder;
use crate::limits::Limits;
use crate::{Names, NetworkKey, Resolvers, Settings, Totals};
use serve::Shared;
use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// DNS for containers.
#[derive(Debug, Clone)]
pub struct Server {
    runtime: Handle,
    shared: Arc<Shared>,
    running: Arc<Mutex<HashMap<NetworkKey, Running>>>,
}

/// The tasks that serve a network.
#[derive(Debug)]
struct Running {
    /// Its sockets' tasks end when this is dropped.
    stop: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// A server of `names` that asks `resolvers` for the rest. Its tasks run on `runtime`, whose
    /// threads must be in the namespace from which the resolvers are reached.
    #[must_use]
    pub fn new(runtime: Handle, names: Names, resolvers: Resolvers, settings: Settings) -> Self {
        let counters = Arc::new(Counters::default());
        let shared = Shared {
            names,
            limits: Limits::new(&settings),
            forwarder: Forwarder::new(resolvers, settings.clone(), Arc::clone(&counters)),
            counters,
            settings,
            turn: AtomicUsize::new(0),
        };
        Self {
            runtime,
            shared: Arc::new(shared),
            running: Arc::default(),
        }
    }

    /// Serves these sockets too. What is bound is answered from the moment this returns; a network
    /// may be given more than once.
    ///
    /// # Errors
    /// The kernel's error about a socket that cannot be waited for; then none of them is served.
    pub fn serve(
        &self,
        udp: Vec<(NetworkKey, UdpSocket)>,
        tcp: Vec<(NetworkKey, TcpListener)>,
    ) -> io::Result<()> {
        let _guard = self.runtime.enter();
        let udp = udp.into_iter().map(|(network, socket)| {
            socket.set_nonblocking(true)?;
            Ok((network, tokio::net::UdpSocket::from_std(socket)?))
        });
        let udp: Vec<_> = udp.collect::<io::Result<_>>()?;
        let tcp = tcp.into_iter().map(|(network, listener)| {
            listener.set_nonblocking(true)?;
            Ok((network, tokio::net::TcpListener::from_std(listener)?))
        });
        let tcp: Vec<_> = tcp.collect::<io::Result<_>>()?;
        for (network, socket) in udp {
            self.start(network, |shared, stop| {
                self.runtime
                    .spawn(udp::serve(shared, network, socket, stop))
            });
        }
        for (network, listener) in tcp {
            self.start(network, |shared, stop| {
                self.runtime
                    .spawn(tcp::serve(shared, network, listener, stop))
            });
        }
        Ok(())
    }

    /// Serves a network no longer, beginning at once; what is under way gets no answer. When the
    /// future is done its sockets are closed.
    pub fn withdraw(&self, network: NetworkKey) -> impl Future<Output = ()> + Send + use<> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = running.remove(&network).map(|running| running.tasks);
        async move {
            for task in tasks.into_iter().flatten() {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task that served names did not end well");
                }
            }
        }
    }

    /// Returns what was counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.counters.totals()
    }

    fn start(
        &self,
        network: NetworkKey,
        spawn: impl FnOnce(Arc<Shared>, watch::Receiver<()>) -> JoinHandle<()>,
    ) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = running.entry(network).or_insert_with(|| Running {
            stop: watch::Sender::new(()),
            tasks: Vec::new(),
        });
        let task = spawn(Arc::clone(&self.shared), running.stop.subscribe());
        running.tasks.push(task);
    }
}
