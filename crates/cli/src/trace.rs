//! `clearway trace`: the frames that a filter matches, as they pass, with the decisions about them.

use crate::failure::Failure;
use crate::output::{Format, INFALLIBLE, Output, by_stage};
use api::{Client, TraceCount, TraceEvent, TraceRequest, TracedFrame};
use std::fmt::Write as _;
use std::io::Write;

/// Frames to show, and when to end.
#[derive(Debug, Clone, clap::Args)]
pub struct TraceCommand {
    /// A filter like tcpdump's, with Clearway's words: `host 10.80.0.2 and tcp port 443`,
    /// `endpoint web-1`, `network web`, `drop spoofed_ip`, `verdict dropped`, `nat`
    #[arg(value_name = "FILTER", trailing_var_arg = true)]
    filter: Vec<String>,
    /// Only frames that were dropped, or refused by a port
    #[arg(long)]
    drops: bool,
    /// End after so many frames, 1 to 1000000
    #[arg(short = 'n', long = "frames", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    frames: Option<u32>,
    /// End after so many seconds, 1 to 86400
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: Option<u32>,
    /// One line a frame, without the decisions
    #[arg(long)]
    brief: bool,
    /// How to print
    #[command(flatten)]
    output: Output,
}

impl TraceCommand {
    pub(crate) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
        let request = TraceRequest {
            filter: self.filter.join(" "),
            drops: self.drops,
            frames: self.frames,
            seconds: self.seconds,
        };
        for event in client.trace(&request)? {
            let event = event?;
            let text = match self.output.format {
                Format::Json => json(&event)?,
                Format::Table => shown(&event, self.brief),
            };
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }
}

fn json(event: &TraceEvent) -> std::io::Result<String> {
    Ok(serde_json::to_string(event)? + "\n")
}

fn shown(event: &TraceEvent, brief: bool) -> String {
    match event {
        TraceEvent::Frame(frame) => told(frame, brief),
        TraceEvent::Lost(count) => format!(
            "({} frames lost so far of {} that matched: they come faster than this reads)\n",
            count.lost, count.matched
        ),
        TraceEvent::End(count) => ended(count),
    }
}

fn ended(count: &TraceCount) -> String {
    let TraceCount {
        matched,
        shown,
        lost,
        skipped,
    } = count;
    let skipped = match skipped {
        0 => String::new(),
        skipped => format!(", {skipped} more when it ended"),
    };
    format!("{matched} frames matched: {shown} shown, {lost} lost{skipped}\n")
}

/// A line that says what it was and what became of it, then its decisions by stage.
fn told(frame: &TracedFrame, brief: bool) -> String {
    let TracedFrame {
        id, from, length, ..
    } = frame;
    let verdict = match (&frame.drop, &frame.into) {
        (Some(drop), _) => format!("dropped: {}", drop.label),
        (None, Some(into)) => format!("{} to {into}", frame.verdict),
        (None, None) => frame.verdict.clone(),
    };
    let clock = clock(frame.time);
    let mut text = format!(
        "{clock} #{id} {from}  {}, {length} bytes: {verdict}\n",
        frame.summary
    );
    if !brief {
        text.push_str(&by_stage(&frame.steps, "    "));
        if frame.omitted > 0 {
            writeln!(text, "    and {} decisions more", frame.omitted).expect(INFALLIBLE);
        }
    }
    if let Some(leaves_as) = &frame.leaves_as {
        writeln!(text, "    #{id} leaves as {leaves_as}").expect(INFALLIBLE);
    }
    text
}

/// The time of day in UTC: `08:15:30.123456`.
fn clock(unix: f64) -> String {
    const DAY: f64 = 86_400.0;
    let of_day = unix.rem_euclid(DAY);
    let (hours, minutes) = ((of_day / 3600.0).floor(), (of_day / 60.0).floor() % 60.0);
    format!("{hours:02}:{minutes:02}:{:09.6}", of_day % 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Step;

    fn frame() -> TracedFrame {
        let step = |stage: &str, sentence: &str| Step {
            code: 0,
            stage: stage.into(),
            label: String::new(),
            fields: serde_json::Map::new(),
            sentence: sentence.into(),
        };
        TracedFrame {
            id: 512,
            time: 1_800_000_930.5,
            worker: 0,
            from: "ann".into(),
            network: Some("web".into()),
            into: Some("eth0".into()),
            verdict: "routed".into(),
            drop: None,
            length: 74,
            summary: "TCP 10.80.0.2:5 -> 198.51.100.1:443 [S]".into(),
            leaves_as: Some("TCP 198.51.100.2:7 -> 198.51.100.1:443".into()),
            steps: vec![
                step("admit", "in VLAN 1"),
                step("route", "to the world through the uplink eth0"),
                step("route", "the next hop 198.51.100.1 is at 02:00:00:00:00:09"),
            ],
            omitted: 0,
            head: String::new(),
        }
    }

    #[test]
    fn a_frame_is_a_line_and_its_decisions() {
        assert_eq!(
            told(&frame(), false),
            "08:15:30.500000 #512 ann  TCP 10.80.0.2:5 -> 198.51.100.1:443 [S], 74 bytes: routed to eth0\n\
             \x20   admit     in VLAN 1\n\
             \x20   route     to the world through the uplink eth0\n\
             \x20             the next hop 198.51.100.1 is at 02:00:00:00:00:09\n\
             \x20   #512 leaves as TCP 198.51.100.2:7 -> 198.51.100.1:443\n"
        );
        let brief = TracedFrame {
            leaves_as: None,
            ..frame()
        };
        assert_eq!(told(&brief, true).lines().count(), 1);
    }

    #[test]
    fn the_end_is_an_account() {
        let count = TraceCount {
            matched: 10,
            shown: 7,
            lost: 3,
            skipped: 0,
        };
        let end = shown(&TraceEvent::End(count), false);
        assert_eq!(end, "10 frames matched: 7 shown, 3 lost\n");
    }
}
