//! The dataplane: workers that carry frames from port to port.
//!
//! ```text
//!   control side                      worker threads
//!   publish(topology) --- View ---->  one epoll set each, their own receiving halves
//!   add_port, remove_port - queue ->  serve -> process.rs -> write straight to the egress
//!   events()          <-- queue ----  a port died
//! ```
//! A frame runs to completion on the worker it arrived at. Workers share the [`View`] (immutable),
//! the forwarding databases (lock-free to read) and the ports' sending halves; each counts in
//! counters of its own.
//!
//! [`Dataplane`] may be used from any thread.

mod answer;
mod begun;
mod explain;
mod finish;
mod forwarder;
mod listener;
mod offers;
mod parse;
mod process;
mod sweep;
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
mod sys;
mod view;
mod worker;

pub use begun::take_begun;
pub use explain::{Explanation, Reply, explain, explain_reply};
pub use forwarder::Forwarder;
pub use process::{Line, Outcome};
pub use sweep::sweep as sweep_leases;
pub use sys::HugePages;
pub use view::{Counted, Hook, Outlet, View};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use lease::Leases;
use listener::Listener;
use nat::{Outbox, Router};
use nix::sys::eventfd::EventFd;
use observe::Watch;
use pipeline::{BatchLimits, Instant, PortId, PortTotals, Tunnel, WorkerId};
use port::{Gone, Port};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use switch::Topology;
use wire::VnetHeader;
use worker::{Activity, Command, Worker};

/// How the dataplane runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Worker threads, 1 to 256.
    pub workers: usize,
    /// How much a worker takes at once.
    pub limits: BatchLimits,
    /// How long a worker looks for more before it sleeps: see [`Config::SPIN`].
    pub spin: Duration,
    /// The workers' nice value, -20 (first) to 19 (last): see [`Config::NICE`].
    pub nice: i32,
}

impl Config {
    /// After its last frame a worker looks for the next one this long, giving way to whoever wants
    /// its processor, before it sleeps. To wake a sleeper on an idle processor costs the sender an
    /// interrupt to that processor, which in a virtual machine takes longer than all the rest of a
    /// frame's way: without it a TCP ping-pong took 44 µs, with it 14 µs. An idle worker sleeps
    /// all the same.
    pub const SPIN: Duration = Duration::from_micros(100);

    /// A worker does the work of every container's interface, and is entitled to more than one
    /// process's share of a busy machine: 8 TCP pairs on 2 processors got 15 Gbit/s without, 18
    /// to 23 with it.
    pub const NICE: i32 = -20;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: default_workers(),
            limits: BatchLimits::default(),
            spin: Self::SPIN,
            nice: Self::NICE,
        }
    }
}

/// The number of workers where nobody asked for another: one for every two processors, since the
/// containers' own stacks need the rest.
#[must_use]
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).clamp(1, 8))
}

/// What happened in the dataplane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A queue of a port will never receive again. Told once for each queue.
    PortDied {
        /// The port.
        port: PortId,
        /// What ended it.
        why: Gone,
    },
}

/// Why the dataplane could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More or fewer workers than can be.
    #[error("{0} workers: 1 to 256 are possible")]
    Workers(usize),
    /// The kernel refused what a worker needs.
    #[error("starting a worker: {0}")]
    Start(#[source] nix::errno::Errno),
    /// A thread could not be started.
    #[error("starting a worker's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// There is a port of that id.
    #[error("{0} is open already")]
    AlreadyOpen(PortId),
}

/// One worker, to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Which one.
    pub id: WorkerId,
    /// Queues it receives from.
    pub queues: usize,
    /// Times it woke up.
    pub wakeups: u64,
    /// Batches it carried.
    pub batches: u64,
    /// Frames in them.
    pub frames: u64,
}

/// Running workers. Dropping it stops them.
#[derive(Debug)]
pub struct Dataplane {
    published: Arc<ArcSwap<View>>,
    workers: Vec<Handle>,
    events: Receiver<Event>,
    leases: OnceLock<Arc<Leases>>,
    listener: OnceLock<Listener>,
    /// Whether what the kernel repeats is its own by now.
    left: AtomicBool,
    /// Held while the view is replaced, so that no two replacements are made from the same one.
    replacing: Mutex<()>,
    origin: std::time::Instant,
}

#[derive(Debug)]
struct Handle {
    sending: Sending,
    activity: Arc<Activity>,
    thread: Option<JoinHandle<()>>,
}

/// The way to a worker.
#[derive(Debug, Clone)]
struct Sending {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
}

impl Dataplane {
    /// Starts the workers, with an empty topology.
    ///
    /// # Errors
    /// [`Error::Workers`], or what the system refused.
    pub fn start(config: Config) -> Result<Self, Error> {
        if !(1..=256).contains(&config.workers) {
            return Err(Error::Workers(config.workers));
        }
        let published = Arc::new(ArcSwap::from_pointee(View::new(config.workers)));
        let (sender, events) = unbounded();
        let origin = std::time::Instant::now();
        let workers = (0..config.workers)
            .map(|index| Handle::start(index, config, &sender, &published, origin))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            published,
            workers,
            events,
            leases: OnceLock::new(),
            listener: OnceLock::new(),
            left: AtomicBool::new(false),
            replacing: Mutex::default(),
            origin,
        })
    }

    /// Opens a port: its frames are carried as soon as a published topology knows it. At a port with a hook
    /// the kernel repeats what it can. Returns what is counted there.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`].
    pub fn add_port(&self, id: PortId, port: Port, hook: Option<Hook>) -> Result<Counted, Error> {
        let _replacing = self.replacing();
        let view = self.view();
        if view.outlet(id).is_some() {
            return Err(Error::AlreadyOpen(id));
        }
        let mut home = Vec::with_capacity(port.queues.len());
        for _ in &port.queues {
            home.push(least_loaded(&view, &home, self.workers.len()));
        }
        let mut outlet = Outlet::new(port.tx, self.workers.len()).at_home(home.clone());
        if let (Some(hook), Some(leases)) = (hook, self.leases.get()) {
            outlet = outlet.hooked(hook, Arc::clone(leases), leases.open_port(id));
        }
        let counted = outlet.counted().clone();
        let outlet = Arc::new(outlet);
        self.replace(|view| view.with_outlet(id, Some(Arc::clone(&outlet))));
        self.published.load().tell(id, &outlet);
        for (worker, rx) in home.into_iter().zip(port.queues) {
            self.workers[worker.index()].tell(Command::Add(id, rx));
        }
        Ok(counted)
    }

    /// Closes a port and waits until no worker holds any part of it. False when it was not open.
    pub fn remove_port(&self, id: PortId) -> bool {
        let _replacing = self.replacing();
        let view = self.view();
        let Some(outlet) = view.outlet(id) else {
            return false;
        };
        for worker in outlet.home() {
            self.workers[worker.index()].tell(Command::Remove(id));
        }
        drop(view);
        self.replace(|view| view.with_outlet(id, None));
        self.sync();
        if let Some(leases) = self.leases() {
            leases.close_port(id);
        }
        true
    }

    /// Makes `topology` and `router` the ones every batch from now on is carried by. A worker does
    /// at once what a new router has to say.
    pub fn publish(&self, topology: Arc<Topology>, router: Arc<Router>) {
        let _replacing = self.replacing();
        let (is_new, has_other_tables) = {
            let before = &self.published.load().router;
            let is_new = !Arc::ptr_eq(before, &router);
            (is_new, !Arc::ptr_eq(&before.live, &router.live))
        };
        let live = Arc::clone(&router.live);
        self.replace(|view| view.with_configuration(topology, router));
        self.published.load().tell_hooks();
        if has_other_tables {
            self.published.load().keep_ledger();
        }
        if is_new {
            live.due.now();
            self.workers[0].sending.wake();
        }
    }

    /// Lends the kernel what is decided about frames of ports with hooks, from now on. To be called before the
    /// first of them is added; what is given later is not used. `begun` returns a descriptor that is readable when
    /// the kernel has begun flows by itself, if it does.
    pub fn lend_by(&self, leases: &Arc<Leases>, begun: impl FnOnce() -> Option<OwnedFd>) {
        let _replacing = self.replacing();
        if self.leases.set(Arc::clone(leases)).is_ok() {
            self.replace(|view| view.clone().with_leases(Some(Arc::clone(leases))));
            self.published.load().keep_ledger();
            if let Some(begun) = begun() {
                self.listen((leases, begun));
            }
        }
    }

    /// Hears of what the kernel begins by itself, from now on.
    fn listen(&self, leases: (&Arc<Leases>, OwnedFd)) {
        let letters = self.workers[0].sending.clone();
        match Listener::start(leases, &self.published, letters, self.origin) {
            Ok(listener) => drop(self.listener.set(listener)),
            Err(error) => tracing::error!(%error, "flows that the kernel begins are heard of late"),
        }
    }

    /// Tells the program at an interface what its port is like: it was put there only now.
    pub fn tell_program(&self, interface: u32) {
        let _replacing = self.replacing();
        self.published.load().tell_anew(interface);
    }

    /// Takes back all that the kernel repeats, since something that decisions rest on was changed outside of
    /// a configuration. What holds is lent again with its next frame.
    pub fn recall(&self) {
        if self.leases().is_some() {
            let _replacing = self.replacing();
            self.replace(View::clone);
        }
    }

    /// Takes back from the kernel what rests on connections that are over. Workers do so after each batch, so
    /// this is for whoever ends connections.
    pub fn take_back(&self) {
        self.published.load().take_back();
    }

    /// Takes in the flows that the kernel has begun, if there are any: see [`take_begun()`].
    pub fn take_begun(&self) {
        if let Some(leases) = self.leases().filter(|leases| leases.has_begun()) {
            let mut letters = Outbox::default();
            take_begun(leases, &self.view(), self.now(), &mut letters);
            self.post(letters);
        }
    }

    /// Sends what the router had to say.
    fn post(&self, letters: Outbox) {
        if !letters.is_empty() {
            self.workers[0].tell(Command::Post(letters));
        }
    }

    /// Looks after what the kernel repeats: see [`sweep_leases`].
    pub fn sweep_leases(&self) {
        self.take_begun();
        if let Some(leases) = self.leases() {
            let mut letters = Outbox::default();
            let (topology, router) = (self.topology(), self.router());
            sweep_leases(leases, &topology, &router, self.now(), &mut letters);
            self.post(letters);
        }
    }

    /// Leaves to the kernel what it repeats, for as long as it was lent: nothing takes it back any more. It begins
    /// nothing from now on, since nobody would hear of it.
    pub fn leave_leases(&self) {
        if let Some(leases) = self.leases() {
            leases.end_grants();
        }
        self.take_begun();
        self.left.store(true, Relaxed);
    }

    /// The book of what the kernel repeats, unless that was left to it.
    #[must_use]
    pub fn leases(&self) -> Option<&Leases> {
        let leases = self.leases.get().filter(|_| !self.left.load(Relaxed));
        leases.map(|leases| &**leases)
    }

    /// Offers the record of every frame to `watch`, until [`Dataplane::unwatch`], and returns once
    /// all workers do. A watch has a ring for each source: see [`Dataplane::sources`].
    pub fn watch(&self, watch: &Arc<Watch>) {
        {
            let _replacing = self.replacing();
            self.replace(|view| {
                let all = view.watches().iter().chain([watch]).cloned();
                view.with_watches(all.collect())
            });
        }
        self.sync();
    }

    /// Ends a watch, and waits until no worker offers to it any more: what it then holds and lost is
    /// the whole account.
    pub fn unwatch(&self, watch: &Arc<Watch>) {
        {
            let _replacing = self.replacing();
            self.replace(|view| {
                let others = view.watches().iter().filter(|w| !Arc::ptr_eq(w, watch));
                view.with_watches(others.cloned().collect())
            });
        }
        self.sync();
    }

    /// The number of sources that write records: the workers.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.workers.len()
    }

    /// Returns what the router's own frames counted.
    #[must_use]
    pub fn router_counters(&self) -> PortTotals {
        self.published.load().router_totals()
    }

    /// The view in use.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.published.load_full()
    }

    /// The router in use. Unlike a view it keeps no port open, however long it is held.
    #[must_use]
    pub fn router(&self) -> Arc<Router> {
        Arc::clone(&self.published.load().router)
    }

    /// The topology in use; keeps no port open either.
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.published.load().topology)
    }

    /// Returns what happens: one receiver, to be read by one reader.
    #[must_use]
    pub fn events(&self) -> Receiver<Event> {
        self.events.clone()
    }

    /// Returns what was counted at an open port.
    #[must_use]
    pub fn counters(&self, id: PortId) -> Option<PortTotals> {
        self.published.load().outlet(id).map(|o| o.totals())
    }

    /// The dataplane's clock, for those who look at tables that its workers date.
    #[must_use]
    pub fn now(&self) -> Instant {
        worker::moment(self.origin)
    }

    /// Returns what would become of a frame: see [`explain()`].
    #[must_use]
    pub fn explain(&self, from: PortId, bytes: &[u8], vnet: VnetHeader) -> Explanation {
        let tunnel = Tunnel::default();
        explain(
            &self.published.load(),
            from,
            tunnel,
            bytes,
            vnet,
            self.now(),
        )
    }

    /// Returns what would become of the answer to it: see [`explain_reply()`].
    #[must_use]
    pub fn explain_reply(
        &self,
        from: PortId,
        bytes: &[u8],
        explained: &Explanation,
    ) -> Option<Reply> {
        let tunnel = Tunnel::default();
        explain_reply(
            &self.published.load(),
            from,
            tunnel,
            bytes,
            explained,
            self.now(),
        )
    }

    /// The workers, to look at.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let view = self.view();
        let queues = |index| {
            view.homes()
                .filter(|worker| worker.index() == index)
                .count()
        };
        let look = |(index, handle): (usize, &Handle)| WorkerStatus {
            id: worker_id(index),
            queues: queues(index),
            wakeups: handle.activity.wakeups.load(Relaxed),
            batches: handle.activity.batches.load(Relaxed),
            frames: handle.activity.frames.load(Relaxed),
        };
        self.workers.iter().enumerate().map(look).collect()
    }

    /// The workers that own an open port's queues, in the order of the queues.
    #[must_use]
    pub fn workers_of(&self, id: PortId) -> Vec<WorkerId> {
        let view = self.published.load();
        view.outlet(id)
            .map_or_else(Vec::new, |outlet| outlet.home().to_vec())
    }

    /// Stops the workers and waits for them. Ports are closed.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for worker in &self.workers {
            worker.tell(Command::Stop);
        }
        for thread in self.workers.iter_mut().filter_map(|w| w.thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
    }

    fn replacing(&self) -> MutexGuard<'_, ()> {
        self.replacing
            .lock()
            .expect("no code that holds the lock panics")
    }

    /// Publishes what `change` makes of the current view. The caller holds `replacing`.
    fn replace(&self, change: impl FnOnce(&View) -> View) {
        // What the kernel has begun until now was begun by the view until now.
        self.take_begun();
        let mut next = change(&self.published.load());
        next.generation += 1;
        let generation = next.lease_generation();
        self.published.store(Arc::new(next));
        if let Some(leases) = self.leases() {
            leases.begin(generation);
        }
        if let Some(listener) = self.listener.get() {
            listener.tidy();
        }
    }

    /// Waits until every worker did what it was told before and uses the newest view.
    pub fn sync(&self) {
        let (done, all_done) = bounded(self.workers.len());
        for worker in &self.workers {
            worker.tell(Command::Sync(done.clone()));
        }
        drop(done);
        // Ends when the last worker answered, or dropped its sender unanswered.
        while all_done.recv().is_ok() {}
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        // Before the workers: it tells them.
        self.listener.take();
        self.end();
    }
}

impl Handle {
    fn start(
        index: usize,
        config: Config,
        events: &Sender<Event>,
        published: &Arc<ArcSwap<View>>,
        origin: std::time::Instant,
    ) -> Result<Self, Error> {
        let (commands, queue) = unbounded();
        let (wake, activity) = (worker::new_wake()?, Arc::new(Activity::default()));
        let worker = Worker::new(
            worker_id(index),
            config,
            Arc::clone(&wake),
            queue,
            events.clone(),
            Arc::clone(published),
            Arc::clone(&activity),
            origin,
        )?;
        let thread = std::thread::Builder::new()
            .name(format!("clearway-w{index}"))
            .spawn(move || worker.run())
            .map_err(Error::Thread)?;
        Ok(Self {
            sending: Sending { commands, wake },
            activity,
            thread: Some(thread),
        })
    }

    fn tell(&self, command: Command) {
        self.sending.tell(command);
    }
}

impl Sending {
    fn tell(&self, command: Command) {
        // A worker that ended early said so in the log; there is nobody to tell.
        let _ = self.commands.send(command);
        self.wake();
    }

    fn wake(&self) {
        let _ = self.wake.write(1);
    }
}

fn worker_id(index: usize) -> WorkerId {
    WorkerId(u32::try_from(index).expect("at most 256 workers"))
}

/// The worker with the fewest queues, those in `pending` counted too.
fn least_loaded(view: &View, pending: &[WorkerId], workers: usize) -> WorkerId {
    let mut load = vec![0usize; workers];
    for worker in view.homes().chain(pending.iter().copied()) {
        load[worker.index()] += 1;
    }
    let least = (0..workers).min_by_key(|&worker| load[worker]);
    worker_id(least.expect("at least one worker"))
}
