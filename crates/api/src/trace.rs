//! The live trace: each frame that a filter matches, with the decisions about it.

use crate::{DropInfo, Invalid, Step};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The frames that a trace shows, and its end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// A filter in the language of pcap-filter(7) with Clearway's words added: `host 10.80.0.2 and
    /// tcp port 443`, `endpoint web-1`, `network web`, `drop spoofed_ip`, `verdict dropped`, `nat`.
    /// Empty: every frame. Names are looked up when the trace begins.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// Whether only frames are shown that were dropped, or refused by a port.
    #[serde(default)]
    pub drops: bool,
    /// The trace ends after so many frames, 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub frames: Option<u32>,
    /// The trace ends after so many seconds, 1 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400)]
    pub seconds: Option<u32>,
}

impl TraceRequest {
    /// Compares the numbers with their ranges.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and the range.
    pub fn check(&self) -> Result<(), Invalid> {
        if let Some(frames) = self.frames {
            Invalid::unless_in("frames", frames, &(1..=1_000_000))?;
        }
        if let Some(seconds) = self.seconds {
            Invalid::unless_in("seconds", seconds, &(1..=86_400))?;
        }
        Ok(())
    }
}

/// A line of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TraceEvent {
    /// A frame.
    Frame(Box<TracedFrame>),
    /// Frames were lost since the last line: this reader is slower than the frames.
    Lost(TraceCount),
    /// The trace ended by itself. The numbers are final.
    End(TraceCount),
}

/// The account of a trace. At its end `matched` is `shown` + `lost` + `skipped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct TraceCount {
    /// Frames that the filter matched.
    pub matched: u64,
    /// Frames that were sent to this reader.
    pub shown: u64,
    /// Frames that found no room, because the reader was too slow.
    pub lost: u64,
    /// Frames that waited when the trace had shown as many as were asked for.
    pub skipped: u64,
}

/// A frame, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedFrame {
    /// The packet's number: the same before and after translation, in all its pieces and copies.
    pub id: u64,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub time: f64,
    /// The worker that carried it.
    pub worker: u32,
    /// The port it came from; `gateway` for a frame of the router's own.
    pub from: String,
    /// The network it came from.
    pub network: Option<String>,
    /// The network it was routed into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// `forwarded`, `flooded`, `routed`, `answered` or `dropped`.
    pub verdict: String,
    /// The reason, when it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<DropInfo>,
    /// Bytes of the frame; of a superframe all of them.
    pub length: u32,
    /// Its headers as it arrived, in words.
    pub summary: String,
    /// Its transport addresses as it left, in words, where they were translated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_as: Option<String>,
    /// The decisions about it, in order.
    pub steps: Vec<Step>,
    /// Decisions that had no room in the record.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u32,
    /// Its first bytes as it arrived, hexadecimal.
    pub head: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}
