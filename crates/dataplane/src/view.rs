//! What workers look at, and how it is replaced.
//!
//! A [`View`] is immutable: the switch's topology, the router, and the sending half of every open port. The
//! control side publishes a new one whole; a worker asks once per batch whether there is a newer
//! one (a pointer comparison) and then uses it for the whole batch. An old view dies with its last
//! reader, so whoever closes a port wakes every worker and waits until each looked again.

use crate::process::Line;
use arc_swap::ArcSwap;
use lease::{Leases, PortTerms, Share, Way};
use nat::{Ledger, Outbox, Router};
use observe::{Watch, Watches};
use pipeline::{Context, DropReason, PortCounters, PortId, PortTotals, Tunnel, WorkerId};
use port::Tx;
use std::sync::{Arc, Mutex};
use switch::{Ingress, Outputs, Topology};
use wire::MacAddr;

/// An open port, as every worker sees it.
#[derive(Debug)]
pub struct Outlet {
    /// The sending half.
    pub tx: Arc<dyn Tx>,
    counters: Counted,
    home: Vec<WorkerId>,
    hook: Option<Hook>,
}

/// The place where the kernel repeats what was decided about a port's frames.
#[derive(Debug)]
pub struct Hook {
    /// The number of the interface at which the program hangs.
    pub interface: u32,
    /// The MAC address of the interface at the other end; none beside a NIC.
    pub mac: Option<MacAddr>,
    /// The terms that the program was told last.
    told: Mutex<Option<PortTerms>>,
}

impl Hook {
    /// The program at `interface`, whose other end has the address `mac`.
    #[must_use]
    pub const fn new(interface: u32, mac: Option<MacAddr>) -> Self {
        Self {
            interface,
            mac,
            told: Mutex::new(None),
        }
    }

    /// Tells the program what the port is like, if it does not know yet.
    fn tell(&self, terms: PortTerms, leases: &Leases) {
        let mut told = self.told.lock().expect("no code that holds it panics");
        if told.replace(terms) != Some(terms) {
            leases.set_port(self.interface, terms);
        }
    }

    /// Forgets what the program was told.
    fn forget(&self) {
        *self.told.lock().expect("no code that holds it panics") = None;
    }

    /// How a frame to `mac` goes to the interface at the other end. For its own address there is nobody behind
    /// it whom the kernel must ask.
    pub(crate) fn way(&self, mac: MacAddr) -> Way {
        if self.mac == Some(mac) {
            Way::Peer
        } else {
            Way::Out
        }
    }
}

/// All that is counted at a port, to be read at any time, also when the port is closed.
#[derive(Debug, Clone)]
pub struct Counted {
    workers: Arc<[PortCounters]>,
    kernel: Option<(Arc<Leases>, Arc<Share>)>,
}

impl Counted {
    /// Returns the sum over all workers and the kernel's leases.
    #[must_use]
    pub fn totals(&self) -> PortTotals {
        let mut totals = PortTotals::default();
        self.workers.iter().for_each(|c| c.add_to(&mut totals));
        if let Some((leases, share)) = &self.kernel {
            let repeated = leases.repeated(share);
            totals.rx_frames += repeated.rx_frames;
            totals.rx_bytes += repeated.rx_bytes;
            totals.tx_frames += repeated.tx_frames;
            totals.tx_bytes += repeated.tx_bytes;
        }
        totals
    }
}

impl Outlet {
    /// A port with a counter for each of `workers` workers.
    #[must_use]
    pub fn new(tx: Arc<dyn Tx>, workers: usize) -> Self {
        Self {
            tx,
            counters: Counted {
                workers: (0..workers).map(|_| PortCounters::default()).collect(),
                kernel: None,
            },
            home: Vec::new(),
            hook: None,
        }
    }

    /// The same port, whose frames the kernel may repeat; `share` counts those.
    #[must_use]
    pub fn hooked(mut self, hook: Hook, leases: Arc<Leases>, share: Arc<Share>) -> Self {
        self.counters.kernel = Some((leases, share));
        self.hook = Some(hook);
        self
    }

    /// The place where the kernel repeats, if it does.
    #[must_use]
    pub const fn hook(&self) -> Option<&Hook> {
        self.hook.as_ref()
    }

    /// The same port, whose queues are received from by the workers `home`, in the order of the
    /// queues.
    #[must_use]
    pub fn at_home(self, home: Vec<WorkerId>) -> Self {
        Self { home, ..self }
    }

    /// The workers that own its queues, in the order of the queues.
    #[must_use]
    pub fn home(&self) -> &[WorkerId] {
        &self.home
    }

    /// The counters that `worker` alone writes.
    #[must_use]
    pub fn counters(&self, worker: WorkerId) -> &PortCounters {
        &self.counters.workers[worker.index()]
    }

    /// Returns all that is counted there.
    #[must_use]
    pub fn counted(&self) -> &Counted {
        &self.counters
    }

    /// Returns the sum of all that is counted there.
    #[must_use]
    pub fn totals(&self) -> PortTotals {
        self.counters.totals()
    }
}

/// Topology and open ports at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// What the switch is configured to be.
    pub topology: Arc<Topology>,
    /// What the router is configured to be.
    pub router: Arc<Router>,
    outlets: Vec<Option<Arc<Outlet>>>,
    /// What the router's own frames count, a worker each.
    own: Arc<[PortCounters]>,
    watches: Watches,
    leases: Option<Arc<Leases>>,
    /// Counts up with every publication. The kernel's leases are of one of them.
    pub generation: u64,
}

impl View {
    /// Nothing is open yet; counted by `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            topology: Arc::default(),
            router: Arc::default(),
            outlets: Vec::new(),
            own: (0..workers).map(|_| PortCounters::default()).collect(),
            watches: Arc::default(),
            leases: None,
            generation: 0,
        }
    }

    /// The same view, whose decisions the kernel may repeat.
    #[must_use]
    pub fn with_leases(self, leases: Option<Arc<Leases>>) -> Self {
        Self { leases, ..self }
    }

    /// The generation of leases of what is decided by this view.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    #[must_use]
    pub const fn lease_generation(&self) -> u32 {
        self.generation as u32
    }

    /// The book of what the kernel repeats, if it does.
    #[must_use]
    pub fn leases(&self) -> Option<&Leases> {
        self.leases.as_deref()
    }

    /// Takes back from the kernel what rests on connections that are over.
    #[inline]
    pub(crate) fn take_back(&self) {
        let tables = &self.router.live.tables;
        if tables.has_over()
            && let Some(leases) = self.leases()
        {
            leases.take_back(tables);
        }
    }

    /// Lets the table of connections ask the book of leases what was carried.
    pub fn keep_ledger(&self) {
        if let Some(leases) = &self.leases {
            let ledger: Arc<dyn Ledger> = Arc::clone(leases) as _;
            self.router.live.tables.keep_ledger(&ledger);
        }
    }

    /// The open port `id`.
    #[must_use]
    pub fn outlet(&self, id: PortId) -> Option<&Arc<Outlet>> {
        self.outlets.get(id.index())?.as_ref()
    }

    /// All open ports.
    pub(crate) fn outlets(&self) -> impl Iterator<Item = (PortId, &Arc<Outlet>)> {
        let ids = (0..).map(PortId);
        ids.zip(&self.outlets)
            .filter_map(|(id, outlet)| Some((id, outlet.as_ref()?)))
    }

    /// Tells the kernel what the ports with hooks are like. Until it knows, their frames stay with the workers.
    pub fn tell_hooks(&self) {
        for (id, outlet) in self.outlets() {
            self.tell(id, outlet);
        }
    }

    /// Tells it of one port.
    pub(crate) fn tell(&self, id: PortId, outlet: &Outlet) {
        if let (Some(leases), Some(hook)) = (self.leases(), outlet.hook())
            && let Some(terms) = self.terms(id)
        {
            hook.tell(terms, leases);
        }
    }

    /// Tells the program at an interface once more: it was put there only now.
    pub(crate) fn tell_anew(&self, interface: u32) {
        for (id, outlet) in self.outlets() {
            if let Some(hook) = outlet.hook().filter(|it| it.interface == interface) {
                hook.forget();
                self.tell(id, outlet);
            }
        }
    }

    pub(crate) fn terms(&self, id: PortId) -> Option<PortTerms> {
        let Ingress { port, network, .. } = self.topology.ingress(id, Tunnel::default()).ok()?;
        Some(PortTerms {
            locked: port.lock.is_some(),
            gateway: network.gateway.map_or(MacAddr::ZERO, |it| it.mac),
            flows: self.router.judges(network.id),
        })
    }

    /// The workers that own the queues of open ports, one for each queue.
    pub(crate) fn homes(&self) -> impl Iterator<Item = WorkerId> {
        let outlets = self.outlets.iter().flatten();
        outlets.flat_map(|outlet| outlet.home.iter().copied())
    }

    /// The same view with `id` open, or closed.
    #[must_use]
    pub fn with_outlet(&self, id: PortId, outlet: Option<Arc<Outlet>>) -> Self {
        let mut next = self.clone();
        if next.outlets.len() <= id.index() {
            next.outlets.resize(id.index() + 1, None);
        }
        next.outlets[id.index()] = outlet;
        next
    }

    /// The same view with another topology and router.
    #[must_use]
    pub fn with_configuration(&self, topology: Arc<Topology>, router: Arc<Router>) -> Self {
        Self {
            topology,
            router,
            ..self.clone()
        }
    }

    /// The same view with others who watch.
    #[must_use]
    pub fn with_watches(&self, watches: Watches) -> Self {
        Self {
            watches,
            ..self.clone()
        }
    }

    /// Everybody who watches.
    #[must_use]
    pub fn watches(&self) -> &[Arc<Watch>] {
        &self.watches
    }

    /// Returns whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// The counters of the router's own frames that `worker` alone writes.
    #[must_use]
    pub(crate) fn router_counters(&self, worker: WorkerId) -> &PortCounters {
        &self.own[worker.index()]
    }

    /// Returns what all workers counted of the router's own frames, and those that it held until it had to
    /// give them up.
    #[must_use]
    pub fn router_totals(&self) -> PortTotals {
        let mut totals = PortTotals::default();
        self.own.iter().for_each(|c| c.add_to(&mut totals));
        let live = &self.router.live;
        let fragments = live.fragments.lost();
        totals.add_drops(DropReason::NextHopUnknown, live.gateway.lost());
        totals.add_drops(DropReason::FragmentTimeout, fragments.timeout);
        totals.add_drops(DropReason::FragmentLimit, fragments.limit);
        totals
    }

    /// The line for a frame.
    pub fn line<'l, T>(
        &'l self,
        context: Context<T>,
        out: &'l mut Outputs,
        outbox: &'l mut Outbox,
    ) -> Line<'l, T> {
        Line {
            topology: &self.topology,
            router: &self.router,
            context,
            out,
            outbox,
        }
    }
}

/// The place where the current view stands.
pub(crate) type Published = Arc<ArcSwap<View>>;
