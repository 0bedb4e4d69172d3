//! One batch: receive, process, transmit.
//!
//! A forwarder is what a worker thread, a simulation and a bench have in common. It holds the
//! buffers that are used again for every batch, and knows neither threads nor clocks nor how to
//! wait.

use crate::finish::{self, Scratch};
use crate::process::process;
use crate::view::{Outlet, View};
use pipeline::{
    Batch, BatchLimits, DropReason, Frame, Instant, NoTrace, PortCounters, PortId, WorkerId,
};
use port::{Gone, Rx};
use switch::{Effects, Outputs, reform};

/// The buffers and the identity with which frames are carried.
#[derive(Debug)]
pub struct Forwarder {
    worker: WorkerId,
    batch: Batch,
    out: Outputs,
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

    fn carry(&mut self, from: PortId, inlet: &Outlet, view: &View, now: Instant) {
        let Self {
            worker,
            batch,
            out,
            scratch,
        } = self;
        let counters = inlet.counters(*worker);
        for index in 0..batch.len() {
            let mut frame = batch.frame(index);
            counters.count_rx(frame.len());
            let verdict = process(
                &frame,
                from,
                &view.topology,
                now,
                Effects::Live,
                out,
                &mut NoTrace,
            );
            if let Err(reason) = verdict {
                counters.count_drop(reason);
            }
            send(&mut frame, out, view, *worker, counters, scratch);
        }
    }
}

/// Sends every copy in `out`. What a port refuses is counted at that port; what goes to a port
/// that is configured but not open, at the one it came from.
fn send(
    frame: &mut Frame<'_>,
    out: &Outputs,
    view: &View,
    worker: WorkerId,
    inlet: &PortCounters,
    scratch: &mut Scratch,
) {
    let mut form = out.arrived;
    for copy in &out.transmits {
        reform(frame, &mut form, copy.form);
        let Some(outlet) = view.outlet(copy.port) else {
            inlet.count_drop(DropReason::TxGone);
            continue;
        };
        let counters = outlet.counters(worker);
        match finish::transmit(&*outlet.tx, frame, scratch) {
            Ok(()) => counters.count_tx(frame.len()),
            Err(reason) => counters.count_drop(reason),
        }
    }
}
