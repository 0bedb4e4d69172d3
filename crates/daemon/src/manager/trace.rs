//! The live trace: records of the workers, named and handed to whoever reads.
//!
//! ```text
//!   workers --- Watch: a ring each ---> take, name ---> channel ---> HTTP
//!                full: counted as lost   every 20 ms     full: nothing is taken
//! ```
//! The rings are the only place where records are lost, and they count each. A reader that stops
//! reading fills its channel, then its rings; no worker ever waits for it. At the end of a trace the
//! workers are told first, so that the last account is complete.

use super::explain::step;
use super::refuse::unavailable;
use super::snapshot::Snapshot;
use super::translate::drop_info;
use super::{Manager, filter};
use api::{ApiError, TraceCount, TraceEvent, TraceRequest, TracedFrame};
use arc_swap::ArcSwap;
use observe::{Flow, Record, Subject, Verdict, Watch};
use pipeline::{Names, NetworkId, PortId};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Traces at once.
const MAX_TRACES: usize = 16;
/// Records that wait in a worker's ring.
const RING: usize = 4096;
/// Events that wait for the reader.
const CHANNEL: usize = 1024;
/// The time between two looks at the rings: shorter than a person notices, and long enough that a
/// ring of 100,000 frames a second is half full.
const PERIOD: Duration = Duration::from_millis(20);

impl Manager {
    /// Begins a trace.
    pub(super) fn begin_trace(
        &self,
        request: &TraceRequest,
    ) -> Result<mpsc::Receiver<TraceEvent>, ApiError> {
        let now = self.now();
        let mut matcher = filter::compile(&request.filter, Subject::Frames, &now.state)?;
        if request.drops {
            matcher = matcher.and_dropped();
        }
        if now.dataplane.view().watches().len() >= MAX_TRACES {
            let why = format!("{MAX_TRACES} traces run already; end one of them");
            return Err(unavailable("cannot begin a trace", &why));
        }
        let watch = Arc::new(Watch::new(matcher, now.dataplane.sources(), RING));
        now.dataplane.watch(&watch);
        let (events, receiver) = mpsc::channel(CHANNEL);
        let tracer = Tracer {
            shown: Arc::downgrade(&self.shown),
            watch,
            events,
            frames_left: request.frames.map(u64::from),
            ends: request
                .seconds
                .map(|seconds| Instant::now() + Duration::from_secs(seconds.into())),
            count: TraceCount::default(),
        };
        tokio::spawn(tracer.run());
        Ok(receiver)
    }
}

/// A trace that runs.
struct Tracer {
    shown: Weak<ArcSwap<Snapshot>>,
    watch: Arc<Watch>,
    events: mpsc::Sender<TraceEvent>,
    frames_left: Option<u64>,
    ends: Option<Instant>,
    /// The account as the reader knows it.
    count: TraceCount,
}

impl Tracer {
    async fn run(mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.events.closed() => break,
            }
            // One event stays free, for what was lost.
            let room = self.events.capacity().saturating_sub(1);
            for event in self.take(room).await {
                // There is room, and nobody else sends.
                let _ = self.events.try_send(event);
            }
        }
        self.end().await;
    }

    fn is_over(&self) -> bool {
        self.frames_left == Some(0)
            || self.ends.is_some_and(|ends| Instant::now() >= ends)
            || self.shown.strong_count() == 0
    }

    /// Takes at most `most` frames, and what was lost before them.
    async fn take(&mut self, most: usize) -> Vec<TraceEvent> {
        let most = self.frames_left.map_or(most, |left| {
            most.min(usize::try_from(left).unwrap_or(usize::MAX))
        });
        let Some(now) = self.shown.upgrade().map(|shown| shown.load_full()) else {
            return Vec::new();
        };
        let watch = Arc::clone(&self.watch);
        let taken = tokio::task::spawn_blocking(move || {
            let mut records = Vec::new();
            watch.take(most, &mut records);
            let frames = records.iter().map(|record| now.traced(record)).collect();
            (frames, watch.tally())
        });
        let Ok((frames, tally)): Result<(Vec<TracedFrame>, _), _> = taken.await else {
            return Vec::new();
        };
        self.count.shown += frames.len() as u64;
        if let Some(left) = &mut self.frames_left {
            *left -= frames.len() as u64;
        }
        let mut events = Vec::with_capacity(frames.len() + 1);
        if tally.lost > self.count.lost {
            (self.count.matched, self.count.lost) = (tally.matched, tally.lost);
            events.push(TraceEvent::Lost(self.count));
        }
        let frames = frames.into_iter().map(Box::new).map(TraceEvent::Frame);
        events.extend(frames);
        events
    }

    /// Tells the workers, sends what they have left where the reader wants it, and the account.
    async fn end(mut self) {
        if let Some(now) = self.shown.upgrade().map(|shown| shown.load_full()) {
            let watch = Arc::clone(&self.watch);
            let told = tokio::task::spawn_blocking(move || now.dataplane.unwatch(&watch));
            // It fails only where the daemon ends, and its workers with it.
            let _ = told.await;
        }
        while self.frames_left != Some(0) {
            let events = self.take(CHANNEL).await;
            if events.is_empty() {
                break;
            }
            for event in events {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        }
        let tally = self.watch.tally();
        let (matched, lost) = (tally.matched, tally.lost);
        let skipped = matched.saturating_sub(lost + self.count.shown);
        let end = TraceCount {
            matched,
            lost,
            skipped,
            ..self.count
        };
        let _ = self.events.send(TraceEvent::End(end)).await;
    }
}

impl Snapshot {
    /// A record with the names of today.
    fn traced(&self, record: &Record) -> TracedFrame {
        let flow = Flow::of(record, None);
        let network = |id: NetworkId| {
            Names::network(&*self.state, id).map_or_else(|| id.to_string(), str::to_owned)
        };
        let from = match record.from {
            PortId::GATEWAY => "gateway".to_owned(),
            id => Names::port(&*self.state, id).map_or_else(|| id.to_string(), str::to_owned),
        };
        let drop = match record.verdict {
            Verdict::Dropped(reason) => Some(drop_info(reason)),
            Verdict::Forwarded | Verdict::Flooded | Verdict::Routed | Verdict::Answered => None,
        };
        let steps = record.steps.as_slice().iter();
        TracedFrame {
            id: record.id.0,
            time: unix_seconds(self.dataplane.now().since(record.at)),
            worker: record.worker.0,
            from,
            network: record.network.map(network),
            into: record.into.map(network),
            verdict: record.verdict.label().to_owned(),
            drop,
            length: record.len,
            summary: flow.summary(),
            leaves_as: flow.leaves_as(),
            steps: steps
                .map(|&decision| step(decision, &*self.state))
                .collect(),
            omitted: record.steps.omitted(),
            head: hex::encode(record.head()),
        }
    }
}

/// The wall clock's time `ago`, in seconds since 1970, to the microsecond.
fn unix_seconds(ago: Duration) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_sub(ago);
    then.as_secs_f64()
}
