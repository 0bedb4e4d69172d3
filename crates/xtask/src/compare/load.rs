//! The load: iperf3 and sockperf, run inside a pair's containers, and short connections of our own:
//! no program in the distributions connects, asks and closes as fast as it can.
//!
//! Each run starts a fresh server and waits until the kernel lists its listening socket. All
//! programs are started from the calling thread, which outlives them; on any error, and when this
//! program dies, they are killed by their process id.
//!
//! For ping-pong and datagrams the two ends sit on different cores, server on 1 and client on 0,
//! where there are two. Left alone, the scheduler now and then puts both on one core: then a round
//! trip is a context switch, ten times shorter than the wake-up of another core, and what is
//! measured is where the scheduler put them. The switch itself is never placed, nor is bulk TCP.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::traffic::{Connections, tcp_connections};
use testbed::{Child, Namespace, wait_until};

use super::contender::Pair;
use crate::packages::{Need, need};

/// The programs of this module. `taskset` is essential on Debian.
pub(super) const NEEDS: &[Need] = &[need("iperf3", "iperf3"), need("sockperf", "sockperf")];

/// Bulk TCP over all pairs at once, its senders with that congestion control: what the receivers
/// got, added up, in Gbit/s.
///
/// # Errors
/// When a program fails or prints something else than expected.
pub(super) fn bulk(pairs: &[Pair], seconds: u32, congestion: &str) -> Result<f64> {
    let _servers = pairs
        .iter()
        .map(|pair| iperf_server(pair, None))
        .collect::<Result<Vec<Child>>>()?;
    let mut clients = pairs
        .iter()
        .map(|pair| iperf_client(pair, None, &["-t", &seconds.to_string(), "-C", congestion]))
        .collect::<Result<Vec<Child>>>()?;
    let mut total = 0.0;
    for client in &mut clients {
        let answer = iperf_answer(client, seconds)?;
        total += number(&answer, "/end/sum_received/bits_per_second")?;
    }
    Ok(total / 1e9)
}

/// A datagram rate and what became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagrams {
    /// What arrived, in datagrams a second.
    pub(super) delivered: f64,
    /// The share that did not, 0 to 1.
    pub(super) loss: f64,
}

/// Sends datagrams of `payload` bytes at `rate` a second and asks the receiver what arrived.
///
/// The sender is woken every 100 µs: with iperf3's default of 1 ms its bursts alone overrun a
/// default receive buffer, and every contender is measured as that buffer.
///
/// # Errors
/// As [`bulk`].
pub(super) fn datagrams(pair: &Pair, payload: u32, rate: f64, seconds: u32) -> Result<Datagrams> {
    let _server = iperf_server(pair, Some(1))?;
    let bits = format!("{:.0}", rate * f64::from(payload) * 8.0);
    let arguments = [
        "-u",
        "-l",
        &payload.to_string(),
        "-b",
        &bits,
        "-t",
        &seconds.to_string(),
        "--pacing-timer",
        "100",
    ];
    let answer = iperf_answer(&mut iperf_client(pair, Some(0), &arguments)?, seconds)?;
    let time = number(&answer, "/end/sum_received/seconds")?;
    ensure!(time > 0.0, "iperf3's receiver counted no time");
    Ok(Datagrams {
        delivered: number(&answer, "/end/sum_received/bytes")? / f64::from(payload) / time,
        loss: loss(
            number(&answer, "/end/sum_sent/packets")?,
            number(&answer, "/end/sum_received/packets")?,
            number(&answer, "/end/sum_received/lost_packets")?,
        ),
    })
}

/// The share lost, by the gaps in the sequence numbers that the receiver saw.
///
/// What is still queued when the test ends is no loss; but a receiver that never saw the last
/// tenth saw no gap there either, and one that saw nothing saw no gap at all: then whatever it
/// has not seen is lost.
fn loss(sent: f64, seen: f64, gaps: f64) -> f64 {
    if seen >= 0.9 * sent && sent > 0.0 {
        gaps / seen
    } else {
        1.0 - (seen - gaps) / sent.max(1.0)
    }
}

/// Half the round trip of a 64-byte TCP message, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    /// The mean.
    pub(super) mean: f64,
    /// The 99th percentile.
    pub(super) p99: f64,
}

/// One TCP message of 64 bytes to and fro, again and again.
///
/// # Errors
/// As [`bulk`].
pub(super) fn ping_pong(pair: &Pair, seconds: u32) -> Result<Latency> {
    let (listens, address) = (pair.listens.to_string(), pair.address.to_string());
    let port = SOCKPERF_PORT.to_string();
    let server = spawn(
        program(&pair.server, Some(1), "sockperf")
            .args(["server", "--tcp", "-i", &listens, "-p", &port]),
    )?;
    await_listener(&server, pair.listens, SOCKPERF_PORT)?;
    let mut client = spawn(
        program(&pair.client, Some(0), "sockperf")
            .args(["ping-pong", "--tcp", "-i", &address, "-p", &port])
            .args(["-m", "64", "-t", &seconds.to_string()]),
    )?;
    let text = finish(&mut client, seconds)?;
    Ok(Latency {
        mean: after(&text, "avg-latency=")?,
        p99: after(&text, "percentile 99.000 =")?,
    })
}

/// Short TCP connections.
#[derive(Debug, Clone)]
pub(super) struct Short {
    /// How many went well, a second.
    pub(super) per_second: f64,
    /// How many did not, and why one of them.
    pub(super) failed: Option<String>,
}

/// Short TCP connections, four at once. One that fails costs the time it was waited for.
///
/// # Errors
/// When the server cannot listen.
pub(super) fn connections(pair: &Pair, seconds: u32) -> Result<Short> {
    let load = Connections {
        listen: SHORT_PORT,
        to: SocketAddr::new(pair.address.into(), SHORT_PORT),
        time: Duration::from_secs(seconds.into()),
        at_once: 4,
    };
    let report = tcp_connections(&pair.server, &pair.client, &load)?;
    let (per_second, failed) = (report.per_second(), report.failed);
    let all = report.count + failed;
    Ok(Short {
        per_second,
        failed: report
            .why
            .map(|why| format!("{failed} of {all} connections failed: {why}")),
    })
}

/// Every port that a server of this module listens at.
pub(super) const PORTS: &[u16] = &[IPERF_PORT, SOCKPERF_PORT, SHORT_PORT];

const IPERF_PORT: u16 = 5201;
const SOCKPERF_PORT: u16 = 11111;
const SHORT_PORT: u16 = 5300;
/// How much longer than asked a load may take before it counts as stuck.
const GRACE: Duration = Duration::from_secs(20);

fn iperf_server(pair: &Pair, core: Option<usize>) -> Result<Child> {
    let listens = pair.listens.to_string();
    let mut command = program(&pair.server, core, "iperf3");
    let server = spawn(command.args(["-s", "-1", "-4", "-B", &listens]))?;
    await_listener(&server, pair.listens, IPERF_PORT)?;
    Ok(server)
}

fn iperf_client(pair: &Pair, core: Option<usize>, arguments: &[&str]) -> Result<Child> {
    let address = pair.address.to_string();
    let mut command = program(&pair.client, core, "iperf3");
    spawn(
        command
            .args(["-c", &address, "-J", "-i", "0"])
            .args(arguments),
    )
}

/// A program in a container, free or on that core.
fn program(container: &Namespace, core: Option<usize>, name: &str) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match core.filter(|core| *core < cores) {
        None => container.command(name),
        Some(core) => {
            let mut command = container.command("taskset");
            command.args(["--cpu-list", &core.to_string(), name]);
            command
        }
    }
}

fn iperf_answer(client: &mut Child, seconds: u32) -> Result<Value> {
    let text = finish(client, seconds)?;
    let answer: Value =
        serde_json::from_str(&text).context("iperf3 printed something else than JSON")?;
    if let Some(error) = answer.get("error") {
        anyhow::bail!("iperf3: {error}");
    }
    Ok(answer)
}

fn number(answer: &Value, pointer: &str) -> Result<f64> {
    answer
        .pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("iperf3's answer has no number {pointer}"))
}

/// The number that follows `label` in sockperf's report.
fn after(text: &str, label: &str) -> Result<f64> {
    let (_, rest) = text
        .split_once(label)
        .with_context(|| format!("sockperf did not print `{label}`"))?;
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    rest[..end]
        .parse()
        .with_context(|| format!("sockperf printed no number after `{label}`"))
}

fn spawn(command: &mut Command) -> Result<Child> {
    Child::spawn(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    )
}

/// Waits for a client's end and answers what it printed. That is a few kilobytes: less than the
/// pipe holds, so that it can be read afterwards.
fn finish(client: &mut Child, seconds: u32) -> Result<String> {
    client.wait_within(Duration::from_secs(seconds.into()) + GRACE)?;
    let mut text = String::new();
    client
        .process()
        .stdout
        .take()
        .expect("stdout was asked to be a pipe")
        .read_to_string(&mut text)
        .context("cannot read the load's output")?;
    Ok(text)
}

/// Waits until the kernel lists a TCP listener of that address in the server's namespace.
fn await_listener(server: &Child, address: Ipv4Addr, port: u16) -> Result<()> {
    let entry = format!(
        "{:08X}:{port:04X} 00000000:0000 0A",
        u32::from_ne_bytes(address.octets())
    );
    let table = format!("/proc/{}/net/tcp", server.id());
    wait_until(&format!("a listener on {address}:{port}"), GRACE, || {
        std::fs::read_to_string(&table).is_ok_and(|text| text.contains(&entry))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_told_by_gaps_unless_the_receiver_missed_the_end() {
        assert_eq!(loss(1000.0, 1000.0, 0.0), 0.0);
        assert_eq!(loss(1000.0, 990.0, 99.0), 0.1);
        assert_eq!(loss(1000.0, 0.0, 0.0), 1.0);
        assert_eq!(loss(1000.0, 500.0, 0.0), 0.5);
        assert_eq!(loss(0.0, 0.0, 0.0), 1.0);
    }

    #[test]
    fn sockperfs_numbers_are_read_between_its_colours() {
        let text = "sockperf: \u{1b}[2;35m====> avg-latency=30.415 (std-dev=22.236)\u{1b}[0m\n\
                    sockperf: ---> percentile 99.900 =  128.251\n\
                    sockperf: ---> percentile 99.000 =   60.784\n";
        assert_eq!(after(text, "avg-latency=").unwrap(), 30.415);
        assert_eq!(after(text, "percentile 99.000 =").unwrap(), 60.784);
        assert!(after(text, "percentile 42").is_err());
    }
}
