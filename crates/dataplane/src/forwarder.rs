//! One batch: receive, process, transmit.
//!
//! A forwarder is what a worker thread, a simulation and a bench have in common. It holds the
//! buffers that are used again for every batch, and knows neither threads nor clocks nor how to
//! wait. It asks once a batch whether anybody watches: where nobody does, no record is made.

use crate::begun;
use crate::finish::{self, Scratch};
use crate::offers::{Carried, Offers, vlan};
use crate::process::Outcome;
use crate::view::{Hook, Outlet, View};
use nat::{Outbox, Post, Rewrite};
use observe::{Flow, Record, Verdict};
use pipeline::{
    Batch, BatchLimits, Context, Decision, DropReason, Frame, HEADROOM, Instant, NetworkId,
    NoTrace, PacketId, PortCounters, PortId, Trace, WorkerId,
};
use port::{Gone, Rx};
use switch::{Form, Forward, Ingress, Outputs, Transmit, reform};
use wire::{Headers, MacAddr, VnetHeader};

/// The buffers and the identity with which frames are carried.
#[derive(Debug)]
pub struct Forwarder {
    batch: Batch,
    lane: Lane,
    /// The place where a frame of the outbox lies while it is carried.
    letter: Vec<u8>,
    /// The time for which this forwarder made the router due last.
    due: Option<Instant>,
}

/// The part of a forwarder that one frame needs, wherever it lies.
#[derive(Debug)]
struct Lane {
    worker: WorkerId,
    out: Outputs,
    outbox: Outbox,
    scratch: Scratch,
    offers: Offers,
    /// Packets that were numbered.
    packets: u64,
}

/// The view and the time of one batch.
#[derive(Debug, Clone, Copy)]
struct Moment<'v> {
    view: &'v View,
    now: Instant,
    /// Whether somebody may want a record of each frame.
    watched: bool,
}

impl<'v> Moment<'v> {
    fn new(view: &'v View, now: Instant) -> Self {
        let watched = view.is_watched();
        Self { view, now, watched }
    }
}

/// The sender of a frame.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A port.
    Port(PortId),
    /// The router, into this network.
    Router(NetworkId),
}

impl Forwarder {
    /// A forwarder that counts as `worker`.
    #[must_use]
    pub fn new(worker: WorkerId, limits: BatchLimits) -> Self {
        Self {
            batch: Batch::new(limits),
            lane: Lane {
                worker,
                out: Outputs::default(),
                outbox: Outbox::default(),
                scratch: Scratch::default(),
                offers: Offers::default(),
                packets: 0,
            },
            letter: Vec::new(),
            due: None,
        }
    }

    /// Takes one batch from `rx`, which is a queue of the port `from`, and carries it to where it
    /// goes. `begin` is called once there are frames and returns the time and the view. Returns
    /// the number of frames.
    ///
    /// # Errors
    /// [`Gone`] when `rx` will never receive again. The frames it still had were carried.
    pub fn serve<'v>(
        &mut self,
        from: PortId,
        rx: &mut dyn Rx,
        begin: impl FnOnce() -> (Instant, &'v View),
    ) -> Result<usize, Gone> {
        self.batch.clear();
        let end = rx.receive(&mut self.batch);
        let frames = self.batch.len();
        if frames > 0 {
            let (now, view) = begin();
            self.take_begun(view, now);
            if let Some(inlet) = view.outlet(from) {
                self.carry(from, inlet, Moment::new(view, now));
                self.lane.offers.served(from);
            }
        }
        end.map(|()| frames)
    }

    /// Takes in flows that the kernel has begun, before packets of theirs are carried.
    #[inline]
    fn take_begun(&mut self, view: &View, now: Instant) {
        if let Some(leases) = view.leases()
            && leases.has_begun()
        {
            begun::take_begun(leases, view, now, &mut self.lane.outbox);
            self.deliver(Moment::new(view, now));
        }
    }

    /// The time at which this forwarder is to poll, if others do not until then. What others
    /// made due is theirs to wait for.
    #[must_use]
    pub fn deadline(&self, view: &View) -> Option<Instant> {
        view.router
            .live
            .due
            .get()
            .filter(|at| Some(*at) == self.due)
    }

    /// Does what is due in the router. The caller [claimed](nat::Due::claim) it, and loaded the view
    /// after that.
    pub fn poll(&mut self, view: &View, now: Instant) {
        view.router.poll(now, &mut self.lane.outbox);
        self.deliver(Moment::new(view, now));
    }

    /// Sends what the router had to say elsewhere.
    pub fn post(&mut self, view: &View, now: Instant, letters: Outbox) {
        self.lane.outbox = letters;
        self.deliver(Moment::new(view, now));
    }

    /// Returns whether decisions wait for the end of a round, to be lent to the kernel.
    #[must_use]
    pub fn has_offers(&self) -> bool {
        !self.lane.offers.is_empty()
    }

    /// Ends a round, in which each queue that had frames was served once: lends the kernel decisions whose
    /// queues were empty meanwhile.
    pub fn end_round(&mut self, view: &View, now: Instant) {
        if let Some(leases) = view.leases() {
            self.lane.offers.end_round(view, leases, now);
        }
    }

    fn carry(&mut self, from: PortId, inlet: &Outlet, moment: Moment<'_>) {
        let Self { batch, lane, .. } = self;
        let counters = inlet.counters(lane.worker);
        warm(batch, from, moment.view);
        for index in 0..batch.len() {
            let mut frame = batch.frame(index);
            frame.id = lane.next_id();
            counters.count_rx(frame.len());
            let outcome = lane.pass(&mut frame, Source::Port(from), counters, moment);
            if let (Some(hook), Ok(outcome)) = (inlet.hook(), &outcome) {
                lane.offer(outcome, &frame, (from, hook), moment);
            }
        }
        self.deliver(moment);
        moment.view.take_back();
    }

    /// Sends what the router had to say, and carries on what it had held; then makes it due for what
    /// is left to be done.
    fn deliver(&mut self, moment: Moment<'_>) {
        if !self.lane.outbox.is_empty() {
            self.send_outbox(moment);
        }
        if let Some(at) = self.lane.outbox.take_due()
            && let Some(due) = moment.view.router.live.due.lower(at)
        {
            self.due = Some(due);
        }
    }

    /// Sends what is in the outbox. That may make the router say more; the outbox's bound is the end
    /// of it.
    fn send_outbox(&mut self, moment: Moment<'_>) {
        let Self { lane, letter, .. } = self;
        let Moment { view, .. } = moment;
        let mut index = 0;
        while let Some((post, bytes)) = lane.outbox.get(index) {
            index += 1;
            letter.clear();
            letter.resize(HEADROOM, 0);
            letter.extend_from_slice(bytes);
            let end = letter.len();
            let mut frame = Frame::new(letter, HEADROOM, end, VnetHeader::default());
            let (source, counters) = match post {
                Post::Send(network) => {
                    frame.id = lane.next_id();
                    (Source::Router(network), view.router_counters(lane.worker))
                }
                Post::Resume(origin) => {
                    (frame.vnet, frame.tunnel, frame.id) = (origin.vnet, origin.tunnel, origin.id);
                    // Its sender may be gone by now.
                    let Some(inlet) = view.outlet(origin.from) else {
                        continue;
                    };
                    (Source::Port(origin.from), inlet.counters(lane.worker))
                }
            };
            let _ = lane.pass(&mut frame, source, counters, moment);
        }
        lane.outbox.clear();
    }
}

impl Lane {
    fn next_id(&mut self) -> PacketId {
        self.packets += 1;
        PacketId::new(self.worker, self.packets)
    }

    /// Carries one frame.
    fn pass(
        &mut self,
        frame: &mut Frame<'_>,
        source: Source,
        counters: &PortCounters,
        moment: Moment<'_>,
    ) -> Result<Outcome, DropReason> {
        if moment.watched {
            self.pass_watched(frame, source, counters, moment)
        } else {
            self.run(frame, source, counters, moment, &mut NoTrace)
        }
    }

    /// Offers the kernel what was decided about a frame of a port with a hook, unless somebody wants to see
    /// each frame.
    fn offer(
        &mut self,
        outcome: &Outcome,
        frame: &Frame<'_>,
        (from, hook): (PortId, &Hook),
        moment: Moment<'_>,
    ) {
        if moment.watched {
            return;
        }
        let carried = Carried {
            view: moment.view,
            from,
            hook,
            frame,
            out: &self.out,
            now: moment.now,
        };
        self.offers.offer(carried, outcome);
    }

    /// Carries one frame, and offers its record to everybody who watches.
    #[cold]
    fn pass_watched(
        &mut self,
        frame: &mut Frame<'_>,
        source: Source,
        counters: &PortCounters,
        moment: Moment<'_>,
    ) -> Result<Outcome, DropReason> {
        let Moment { view, now, .. } = moment;
        let (from, network) = match source {
            Source::Port(from) => {
                let ingress = view.topology.ingress(from, frame.tunnel).ok();
                (from, ingress.map(|ingress| ingress.network.id))
            }
            Source::Router(network) => (PortId::GATEWAY, Some(network)),
        };
        let mut record = Record::new(frame, from, now, self.worker);
        record.network = network;
        let outcome = self.run(frame, source, counters, moment, &mut record.steps);
        (record.verdict, record.into) = match outcome {
            Ok(Outcome::Switched(Forward::Unicast(_))) => (Verdict::Forwarded, None),
            Ok(Outcome::Switched(Forward::Flood(_))) => (Verdict::Flooded, None),
            Ok(Outcome::Switched(Forward::Gateway) | Outcome::Taken) => (Verdict::Answered, None),
            Ok(Outcome::Routed { network, .. }) => (Verdict::Routed, Some(network)),
            Err(reason) => (Verdict::Dropped(reason), None),
        };
        let flow = Flow::of(&record, None);
        for watch in view.watches() {
            watch.offer(self.worker.index(), &flow, &record);
        }
        outcome
    }

    /// Decides about a frame, counts a drop, and sends the copies.
    fn run<T: Trace>(
        &mut self,
        frame: &mut Frame<'_>,
        source: Source,
        counters: &PortCounters,
        moment: Moment<'_>,
        trace: &mut T,
    ) -> Result<Outcome, DropReason> {
        let Moment { view, now, .. } = moment;
        let context = Context::live(now, &mut *trace);
        let mut line = view.line(context, &mut self.out, &mut self.outbox);
        let outcome = match source {
            Source::Port(from) => line.process(frame, from),
            Source::Router(network) => line.emit(frame, network).map(Outcome::Switched),
        };
        let rewrite = match &outcome {
            Ok(Outcome::Routed {
                rewrite, headers, ..
            }) => Some((rewrite, headers)),
            Ok(Outcome::Switched(_) | Outcome::Taken) => None,
            Err(reason) => {
                counters.count_drop(*reason);
                None
            }
        };
        if self.out.sender_moved
            && let (Some(leases), Some(&mac)) = (view.leases(), frame.bytes()[6..].first_chunk())
        {
            leases.revoke_station(MacAddr(mac));
        }
        self.send(frame, rewrite, counters, view, trace);
        outcome
    }

    /// Sends every copy; those for mirrors of the ingress port before the frame is changed. What a
    /// port refuses is counted at that port; what goes to a port that is configured but not open,
    /// at `inlet`.
    fn send<T: Trace>(
        &mut self,
        frame: &mut Frame<'_>,
        rewrite: Option<(&Rewrite, &Headers)>,
        inlet: &PortCounters,
        view: &View,
        trace: &mut T,
    ) {
        let Self {
            worker,
            out,
            scratch,
            ..
        } = self;
        let mut form = out.arrived;
        let fragment = rewrite.and_then(|(rewrite, _)| rewrite.fragment);
        let mut copy_to = |frame: &mut Frame<'_>, form: &mut Form, copy: &Transmit, fragment| {
            reform(frame, form, copy.form);
            let port = copy.port;
            let Some(outlet) = view.outlet(port) else {
                inlet.count_drop(DropReason::TxGone);
                trace.tell(Decision::PortClosed { port });
                return;
            };
            let counters = outlet.counters(*worker);
            match finish::transmit(&*outlet.tx, frame, copy.to, fragment, scratch) {
                Ok(()) => counters.count_tx(frame.len()),
                Err(reason) => {
                    counters.count_drop(reason);
                    trace.tell(Decision::PortRefused { port, reason });
                }
            }
        };
        let (mirrored, rest) = out.transmits.split_at(out.as_arrived);
        for copy in mirrored {
            copy_to(frame, &mut form, copy, None);
        }
        if let Some((rewrite, headers)) = rewrite {
            // The rewrite goes by the headers as they were parsed.
            reform(frame, &mut form, out.arrived);
            rewrite.apply(frame, headers);
        }
        for copy in rest {
            copy_to(frame, &mut form, copy, fragment);
        }
    }
}

/// Brings what a large table knows of the batch's addresses towards the cache, so that the misses
/// of a whole batch are waited for together: a worker would else wait twice for every frame. It is
/// a guess before any check, and a wrong one costs nothing but itself.
fn warm(batch: &mut Batch, from: PortId, view: &View) {
    if batch.len() < 2 {
        return;
    }
    // Those of a tunnel may be in several networks: the first one's is the guess for all.
    let tunnel = batch.frame(0).tunnel;
    let Ok(Ingress { port, network, .. }) = view.topology.ingress(from, tunnel) else {
        return;
    };
    if !network.fdb.is_large() {
        return;
    }
    for index in 0..batch.len() {
        let frame = batch.frame(index);
        // IEEE 802.3 section 3.1.1: destination, source; IEEE 802.1Q section 9.3: the tag.
        let Some(&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, tag @ ..]) =
            frame.bytes().first_chunk::<16>()
        else {
            continue;
        };
        let Some(vlan) = vlan(&port.vlan, tag) else {
            continue;
        };
        network.fdb.warm(vlan, MacAddr([s0, s1, s2, s3, s4, s5]));
        network.fdb.warm(vlan, MacAddr([d0, d1, d2, d3, d4, d5]));
    }
}
