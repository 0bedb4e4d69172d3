//! One batch: receive, process, transmit.
//!
//! A forwarder is what a worker thread, a simulation and a bench have in common. It holds the
//! buffers that are used again for every batch, and knows neither threads nor clocks nor how to
//! wait.

use crate::finish::{self, Scratch};
use crate::process::{Outcome, Sinks, emit, process};
use crate::view::{Outlet, View};
use nat::{Outbox, Post, Rewrite};
use pipeline::{
    Batch, BatchLimits, DropReason, Frame, HEADROOM, Instant, NoTrace, PortCounters, PortId,
    WorkerId,
};
use port::{Gone, Rx};
use switch::{Effects, Form, Ingress, Outputs, Transmit, VlanMode, reform};
use wire::{Headers, MacAddr, VlanId, VlanTag, VnetHeader};

/// The buffers and the identity with which frames are carried.
#[derive(Debug)]
pub struct Forwarder {
    worker: WorkerId,
    batch: Batch,
    out: Outputs,
    outbox: Outbox,
    /// Where a frame of the outbox lies while it is carried.
    letter: Vec<u8>,
    scratch: Scratch,
}

impl Forwarder {
    /// A forwarder that counts as `worker`.
    #[must_use]
    pub fn new(worker: WorkerId, limits: BatchLimits) -> Self {
        Self {
            worker,
            batch: Batch::new(limits),
            out: Outputs::default(),
            outbox: Outbox::default(),
            letter: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Takes one batch from `rx`, which is a queue of the port `from`, and carries it to where it
    /// goes. `begin` is called once there are frames and says what time it is and what the
    /// switch looks like. Answers how many frames there were.
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
            if let Some(inlet) = view.outlet(from) {
                self.carry(from, inlet, view, now);
            }
        }
        end.map(|()| frames)
    }

    /// Does what is due in the router: about once a second, by one worker.
    pub fn poll(&mut self, view: &View, now: Instant) {
        view.router.poll(now, &mut self.outbox);
        self.deliver(view, now);
    }

    fn carry(&mut self, from: PortId, inlet: &Outlet, view: &View, now: Instant) {
        let Self {
            worker,
            batch,
            out,
            outbox,
            scratch,
            ..
        } = self;
        let counters = inlet.counters(*worker);
        warm(batch, from, view);
        for index in 0..batch.len() {
            let mut frame = batch.frame(index);
            counters.count_rx(frame.len());
            let mut sinks = Sinks {
                out,
                outbox,
                trace: &mut NoTrace,
            };
            let against = view.against(now, Effects::Live);
            let outcome = process(&frame, from, &against, &mut sinks);
            let rewrite = settle(outcome, counters);
            send(&mut frame, rewrite, out, view, *worker, counters, scratch);
        }
        self.deliver(view, now);
    }

    /// Sends what the router had to say, and carries on what it had held. Both may make it say
    /// more; the outbox's bound is the end of that.
    fn deliver(&mut self, view: &View, now: Instant) {
        if self.outbox.is_empty() {
            return;
        }
        let Self {
            worker,
            out,
            outbox,
            letter,
            scratch,
            ..
        } = self;
        let mut index = 0;
        while let Some((post, bytes)) = outbox.get(index) {
            index += 1;
            letter.clear();
            letter.resize(HEADROOM, 0);
            letter.extend_from_slice(bytes);
            let vnet = match post {
                Post::Send(_) => VnetHeader::default(),
                Post::Resume(_, vnet) => vnet,
            };
            let end = letter.len();
            let mut frame = Frame::new(letter, HEADROOM, end, vnet);
            let mut sinks = Sinks {
                out,
                outbox,
                trace: &mut NoTrace,
            };
            let against = view.against(now, Effects::Live);
            match post {
                Post::Send(network) => {
                    let counters = view.router_counters(*worker);
                    let sent = emit(&frame, network, &against, &mut sinks);
                    let rewrite = settle(sent.map(Outcome::Switched), counters);
                    send(&mut frame, rewrite, out, view, *worker, counters, scratch);
                }
                Post::Resume(from, _) => {
                    // Whoever sent it may be gone by now.
                    let Some(inlet) = view.outlet(from) else {
                        continue;
                    };
                    let counters = inlet.counters(*worker);
                    let outcome = process(&frame, from, &against, &mut sinks);
                    let rewrite = settle(outcome, counters);
                    send(&mut frame, rewrite, out, view, *worker, counters, scratch);
                }
            }
        }
        outbox.clear();
    }
}

/// Counts a drop; else how the frame is to be changed.
fn settle(
    outcome: Result<Outcome, DropReason>,
    counters: &PortCounters,
) -> Option<(Rewrite, Headers)> {
    match outcome {
        Ok(Outcome::Routed {
            rewrite, headers, ..
        }) => Some((rewrite, headers)),
        Ok(Outcome::Switched(_) | Outcome::Taken) => None,
        Err(reason) => {
            counters.count_drop(reason);
            None
        }
    }
}

/// Brings what a large table knows of the batch's addresses towards the cache, so that the misses
/// of a whole batch are waited for together: a worker would else wait twice for every frame. It is
/// a guess before any check, and a wrong one costs nothing but itself.
fn warm(batch: &mut Batch, from: PortId, view: &View) {
    let Ok(Ingress { port, network }) = view.topology.ingress(from) else {
        return;
    };
    if batch.len() < 2 || !network.fdb.is_large() {
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

/// The VLAN in which a frame is, if it is admitted, whose four bytes after the addresses are `tag`.
fn vlan(mode: &VlanMode, tag: [u8; 4]) -> Option<VlanId> {
    match mode {
        VlanMode::Access(vlan) | VlanMode::Tunnel(vlan) => Some(*vlan),
        VlanMode::Trunk { native, .. } => VlanTag::from_bytes(tag)
            .and_then(|tag| VlanId::new(tag.vid()))
            .or_else(|| native.map(|native| native.vid)),
    }
}

/// Sends every copy in `out`; those for mirrors of the ingress port before the frame is changed.
/// What a port refuses is counted at that port; what goes to a port that is configured but not
/// open, at the one it came from.
fn send(
    frame: &mut Frame<'_>,
    rewrite: Option<(Rewrite, Headers)>,
    out: &Outputs,
    view: &View,
    worker: WorkerId,
    inlet: &PortCounters,
    scratch: &mut Scratch,
) {
    let mut form = out.arrived;
    let fragment = rewrite.as_ref().and_then(|(rewrite, _)| rewrite.fragment);
    let mut copy_to = |frame: &mut Frame<'_>, form: &mut Form, copy: &Transmit, fragment| {
        reform(frame, form, copy.form);
        let Some(outlet) = view.outlet(copy.port) else {
            inlet.count_drop(DropReason::TxGone);
            return;
        };
        let counters = outlet.counters(worker);
        match finish::transmit(&*outlet.tx, frame, fragment, scratch) {
            Ok(()) => counters.count_tx(frame.len()),
            Err(reason) => counters.count_drop(reason),
        }
    };
    let (mirrored, rest) = out.transmits.split_at(out.as_arrived);
    for copy in mirrored {
        copy_to(frame, &mut form, copy, None);
    }
    if let Some((rewrite, headers)) = rewrite {
        // The rewrite goes by the headers as they were parsed.
        reform(frame, &mut form, out.arrived);
        rewrite.apply(frame, &headers);
    }
    for copy in rest {
        copy_to(frame, &mut form, copy, fragment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switch::{Native, VlanSet};

    const V10: Option<VlanId> = VlanId::new(10);
    const V20: Option<VlanId> = VlanId::new(20);

    fn native(vid: Option<VlanId>) -> Option<Native> {
        vid.map(|vid| Native { vid, tagged: false })
    }

    /// A guess that differs from what admission says would warm the wrong entry, silently.
    #[test]
    fn the_guessed_vlan_is_the_one_that_admission_finds() {
        let modes = [
            VlanMode::Access(V10.unwrap()),
            VlanMode::Tunnel(V10.unwrap()),
            VlanMode::Trunk {
                allowed: VlanSet::all(),
                native: native(V10),
            },
            VlanMode::Trunk {
                allowed: VlanSet::all(),
                native: None,
            },
        ];
        let tags = [
            [0x08, 0, 0x45, 0],
            [0x81, 0, 0, 20],
            [0x81, 0, 0xe0, 20],
            [0x88, 0xa8, 0, 20],
            [0x81, 0, 0xe0, 0],
        ];
        let mut admitted = Vec::new();
        for (mode, tag) in modes.iter().flat_map(|mode| tags.map(|tag| (mode, tag))) {
            let bytes = [&[2; 12][..], &tag, &[0x86, 0xdd], &[0; 46]].concat();
            let headers = Headers::parse(&bytes).unwrap();
            if let Ok(found) = mode.admit(&headers) {
                assert_eq!(vlan(mode, tag), Some(found.vlan), "{mode:?}, {tag:x?}");
                admitted.push(Some(found.vlan));
            }
        }
        assert!(admitted.contains(&V10) && admitted.contains(&V20));
    }
}
