//! TCP in bulk, and one small request after another.

use super::{PATIENCE, Way};
use crate::{Namespace, bind_when_free};
use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// When a bulk transfer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// After this time.
    For(Duration),
    /// After so many bytes a stream.
    Bytes(u64),
}

/// The result of a bulk transfer, as its receiver saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BulkReport {
    /// Bytes received by all streams together.
    pub bytes: u64,
    /// From the first byte of the first stream to the last of the last.
    pub elapsed: Duration,
}

impl BulkReport {
    /// Bytes a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is shown with three digits"
        )]
        let bytes = self.bytes as f64;
        bytes / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Gigabits a second.
    #[must_use]
    pub fn gigabits_per_second(&self) -> f64 {
        self.bytes_per_second() * 8.0 / 1e9
    }
}

/// Sends from `client` to `server`, which has the address `to`, over so many streams at once.
///
/// # Errors
/// When the connection cannot be made, breaks, or stalls for [`PATIENCE`].
pub fn tcp_bulk(
    server: &Namespace,
    client: &Namespace,
    to: IpAddr,
    amount: Amount,
    streams: usize,
) -> Result<BulkReport> {
    tcp_bulk_by(server, client, to.into(), amount, streams)
}

/// The same by a way of which the server need not know, as to a port that is published.
///
/// # Errors
/// As [`tcp_bulk`].
pub fn tcp_bulk_by(
    server: &Namespace,
    client: &Namespace,
    way: Way,
    amount: Amount,
    streams: usize,
) -> Result<BulkReport> {
    transfer(server, client, way, amount, streams, false)
}

/// Sends `bytes` bytes in one stream and compares each that arrives with the one that was sent:
/// superframes travel with unfinished checksums, so nobody else would notice a wrong one.
///
/// # Errors
/// As [`tcp_bulk`]; and when a byte was lost or changed.
pub fn tcp_exact(
    server: &Namespace,
    client: &Namespace,
    to: IpAddr,
    bytes: u64,
) -> Result<BulkReport> {
    let report = transfer(server, client, to.into(), Amount::Bytes(bytes), 1, true)?;
    ensure!(
        report.bytes == bytes,
        "{} of {bytes} bytes arrived",
        report.bytes
    );
    Ok(report)
}

/// How long small requests took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyReport {
    /// Requests answered.
    pub count: usize,
    /// Their mean.
    pub mean: Duration,
    /// Half were at most so long.
    pub p50: Duration,
    /// 99 of 100 were at most so long.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Sends `size` bytes from `client` to `server` and back, `count` times, one after the other
/// (TCP_NODELAY). A tenth as many go before, uncounted.
///
/// The two ends keep to different cores, where there are two: left alone, the scheduler sometimes
/// puts both on one, where a round trip is a context switch, and one would measure its choice.
///
/// # Errors
/// When the connection cannot be made, breaks, or stalls for [`PATIENCE`]; when `count` or `size`
/// is zero.
pub fn tcp_ping_pong(
    server: &Namespace,
    client: &Namespace,
    to: IpAddr,
    size: usize,
    count: usize,
) -> Result<LatencyReport> {
    ensure!(
        size > 0 && count > 0,
        "a ping-pong of {size} bytes, {count} times: both must be at least 1"
    );
    let (listener, address) = listen(server, to.into())?;
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| {
            keep_to_core(1)?;
            echo(&accept(&listener)?, size)
        });
        let exchange = scope.spawn(|| {
            keep_to_core(0)?;
            exchange(&connect(client, address)?, size, count)
        });
        let (times, echoed) = (joined(exchange), joined(echo));
        let times = times?;
        echoed?;
        Ok(latency(times))
    })
}

/// Keeps the calling thread to the `number`th of the cores it may use, if there are so many.
fn keep_to_core(number: usize) -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).context("cannot ask for this thread's cores")?;
    let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
    let Some(core) = cores.nth(number) else {
        return Ok(());
    };
    let mut only = CpuSet::new();
    only.set(core)?;
    sched_setaffinity(this, &only).with_context(|| format!("cannot keep to core {core}"))
}

fn echo(mut stream: &TcpStream, size: usize) -> Result<()> {
    let mut message = vec![0; size];
    // The client's hanging up ends the exchange.
    while stream.read_exact(&mut message).is_ok() {
        stream
            .write_all(&message)
            .context("the server cannot answer")?;
    }
    Ok(())
}

fn exchange(mut stream: &TcpStream, size: usize, count: usize) -> Result<Vec<Duration>> {
    let (message, mut answer) = (vec![0x5a; size], vec![0; size]);
    let warm_up = count / 10;
    let mut times = Vec::with_capacity(count);
    for round in 0..warm_up + count {
        let start = Instant::now();
        stream
            .write_all(&message)
            .context("cannot send a request")?;
        stream.read_exact(&mut answer).context("no answer came")?;
        if round >= warm_up {
            times.push(start.elapsed());
        }
    }
    Ok(times)
}

fn latency(mut times: Vec<Duration>) -> LatencyReport {
    times.sort_unstable();
    let count = times.len();
    let total: Duration = times.iter().sum();
    let mean = total / u32::try_from(count).unwrap_or(u32::MAX);
    LatencyReport {
        count,
        mean,
        p50: times[count / 2],
        p99: times[count * 99 / 100],
        max: times[count - 1],
    }
}

fn transfer(
    server: &Namespace,
    client: &Namespace,
    way: Way,
    amount: Amount,
    streams: usize,
    compare: bool,
) -> Result<BulkReport> {
    ensure!(
        streams > 0,
        "a transfer over no streams: at least 1 is needed"
    );
    let (listener, address) = listen(server, way)?;
    std::thread::scope(|scope| {
        let mut ends = Vec::new();
        for _ in 0..streams {
            let sending = connect(client, address)?;
            let receiving = accept(&listener)?;
            let sender = scope.spawn(move || send(&sending, amount));
            ends.push((sender, scope.spawn(move || receive(&receiving, compare))));
        }
        let mut parts = Vec::new();
        for (sender, receiver) in ends {
            // The sender's error says more: look at it first.
            let (sent, received) = (joined(sender), joined(receiver));
            sent?;
            parts.push(received?);
        }
        Ok(sum(&parts))
    })
}

struct Part {
    bytes: u64,
    first: Instant,
    last: Instant,
}

fn sum(parts: &[Part]) -> BulkReport {
    let first = parts.iter().map(|part| part.first).min();
    let last = parts.iter().map(|part| part.last).max();
    let elapsed = first
        .zip(last)
        .map_or(Duration::ZERO, |(first, last)| last - first);
    BulkReport {
        bytes: parts.iter().map(|part| part.bytes).sum(),
        elapsed,
    }
}

fn send(mut stream: &TcpStream, amount: Amount) -> Result<()> {
    let block = block();
    let start = Instant::now();
    let mut left = match amount {
        Amount::For(_) => u64::MAX,
        Amount::Bytes(bytes) => bytes,
    };
    while left > 0 && !matches!(amount, Amount::For(time) if start.elapsed() >= time) {
        let len = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        stream
            .write_all(&block[..len])
            .context("the stream broke or stalled while sending")?;
        left -= len as u64;
    }
    stream
        .shutdown(Shutdown::Write)
        .context("cannot end the stream")
}

fn receive(mut stream: &TcpStream, compare: bool) -> Result<Part> {
    let pattern = block();
    let mut buffer = vec![0; BLOCK];
    let mut part = Part {
        bytes: 0,
        first: Instant::now(),
        last: Instant::now(),
    };
    loop {
        // A comparison needs whole blocks, or the position in the pattern to be carried along:
        // reading no further than the block's end keeps both in step.
        let at = if compare {
            usize::try_from(part.bytes % BLOCK as u64).expect("less than a block")
        } else {
            0
        };
        let len = stream
            .read(&mut buffer[at..])
            .context("the stream broke or stalled while receiving")?;
        if len == 0 {
            part.last = Instant::now();
            return Ok(part);
        }
        if part.bytes == 0 {
            part.first = Instant::now();
        }
        ensure!(
            !compare || buffer[at..at + len] == pattern[at..at + len],
            "a byte changed after {} bytes",
            part.bytes
        );
        part.bytes += len as u64;
    }
}

/// Bytes a write or read: what iperf3 uses.
const BLOCK: usize = 128 * 1024;

/// A pattern whose period (251) divides no power of two: a shift by a page or segment shows.
fn block() -> Vec<u8> {
    (0..251).cycle().take(BLOCK).collect()
}

/// A listener, and where its clients are to connect to.
fn listen(server: &Namespace, way: Way) -> Result<(TcpListener, SocketAddr)> {
    let listener = server
        .run(|| bind_when_free(|| TcpListener::bind(way.listen)))
        .with_context(|| format!("cannot listen at {}", way.listen))?;
    SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
    let port = listener.local_addr()?.port();
    Ok((listener, way.to_port(port)))
}

fn connect(client: &Namespace, to: SocketAddr) -> Result<TcpStream> {
    let stream = client
        .run(|| TcpStream::connect_timeout(&to, PATIENCE))
        .with_context(|| format!("cannot connect to {to}"))?;
    prepared(stream)
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().context("nobody connected")?;
    prepared(stream)
}

fn prepared(stream: TcpStream) -> Result<TcpStream> {
    // Linux's own default. The machine may prefer another (BBR paces with timers, which are dear
    // in a virtual machine), or have been built without this one: then its own will do.
    let _ = SockRef::from(&stream).set_tcp_congestion(b"cubic");
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("a traffic thread panicked")))
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::link;

    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 3, 0, 1));

    fn pair() -> (Namespace, Namespace) {
        let (server, client) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        link::veth(&server, "eth0", &client, "eth0").unwrap();
        link::address(&server, "eth0", "10.3.0.1/24").unwrap();
        link::address(&client, "eth0", "10.3.0.2/24").unwrap();
        (server, client)
    }

    #[test]
    fn bytes_and_time_end_a_transfer() {
        let (server, client) = pair();
        let report = tcp_bulk(&server, &client, SERVER, Amount::Bytes(3_000_001), 4).unwrap();
        assert_eq!(report.bytes, 12_000_004);
        let report = tcp_bulk(
            &server,
            &client,
            SERVER,
            Amount::For(Duration::from_millis(50)),
            1,
        )
        .unwrap();
        assert!(
            report.bytes > 0 && report.bytes_per_second() > 0.0,
            "{report:?}"
        );
    }

    #[test]
    fn an_exact_transfer_compares_what_arrives() {
        let (server, client) = pair();
        assert_eq!(
            tcp_exact(&server, &client, SERVER, 5_000_003)
                .unwrap()
                .bytes,
            5_000_003
        );

        let (listener, address) = listen(&server, SERVER.into()).unwrap();
        let mut wrong = connect(&client, address).unwrap();
        wrong.write_all(&[0, 1, 2, 4]).unwrap();
        let error = receive(&accept(&listener).unwrap(), true)
            .map(|part| part.bytes)
            .unwrap_err();
        assert!(error.to_string().contains("changed"), "{error}");
    }

    #[test]
    fn requests_are_answered_and_their_times_are_in_order() {
        let (server, client) = pair();
        let report = tcp_ping_pong(&server, &client, SERVER, 64, 200).unwrap();
        assert_eq!(report.count, 200);
        assert!(report.p50 <= report.p99 && report.p99 <= report.max && report.mean <= report.max);
    }

    #[test]
    fn an_address_that_nobody_has_is_an_error() {
        let (server, client) = pair();
        let error = tcp_bulk(
            &server,
            &client,
            "10.3.0.7".parse().unwrap(),
            Amount::Bytes(1),
            1,
        )
        .unwrap_err();
        assert!(error.to_string().contains("10.3.0.7"), "{error}");
    }
}
