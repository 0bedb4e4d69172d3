//! A server on the loopback interface, clients of it, and a resolver that answers as it is told.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part"
)]

use clearway_names::{
    Endpoint, Names, Network, NetworkKey, Reach, Resolvers, SandboxKey, Server, Settings, Zones,
};
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A network that reaches the outside.
pub(crate) const BLUE: NetworkKey = NetworkKey(1);
/// One that does not.
pub(crate) const RED: NetworkKey = NetworkKey(2);

/// Waits that are over soon, and a failure that is remembered for as long as a test takes.
pub(crate) fn quick() -> Settings {
    Settings {
        upstream_timeout: Duration::from_millis(500),
        failure_ttl: Duration::from_secs(60),
        ..Settings::default()
    }
}

/// A server of two networks, each at a port of its own, by UDP and TCP.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) names: Names,
    pub(crate) server: Server,
    pub(crate) blue: SocketAddr,
    pub(crate) red: SocketAddr,
}

impl Rig {
    pub(crate) async fn new(upstreams: &[SocketAddr], settings: Settings) -> Self {
        let names = Names::new();
        names.publish(zones([]));
        let resolvers = Resolvers::fixed(upstreams.iter().copied());
        let server = Server::new(Handle::current(), names.clone(), resolvers, settings);
        let blue = open(&server, BLUE);
        let red = open(&server, RED);
        Self {
            names,
            server,
            blue,
            red,
        }
    }
}

/// Serves `network` at a free port of the loopback interface.
pub(crate) fn open(server: &Server, network: NetworkKey) -> SocketAddr {
    loop {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if let Ok(tcp) = std::net::TcpListener::bind(address) {
            let served = server.serve(vec![(network, udp)], vec![(network, tcp)]);
            served.unwrap();
            return address;
        }
    }
}

/// The two networks with these endpoints.
pub(crate) fn zones(endpoints: impl IntoIterator<Item = Endpoint>) -> Zones {
    let network = |key, name: &str, reach| Network {
        key,
        name: Some(name.parse().unwrap()),
        reach,
        subnets: vec!["10.1.0.0/16".parse().unwrap()],
    };
    let networks = [
        network(BLUE, "blue", Reach::Outside),
        network(RED, "red", Reach::Internal),
    ];
    Zones::new(None, networks, endpoints)
}

pub(crate) fn endpoint(
    network: NetworkKey,
    sandbox: u64,
    names: &[&str],
    addresses: &[&str],
) -> Endpoint {
    Endpoint {
        network,
        sandbox: Some(SandboxKey(sandbox)),
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

pub(crate) fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

pub(crate) fn edns(payload: u16, dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
    edns
}

/// A client by UDP, at an address of its own.
#[derive(Debug)]
pub(crate) struct Client(UdpSocket);

impl Client {
    pub(crate) async fn at(address: [u8; 4]) -> Self {
        Self(UdpSocket::bind((Ipv4Addr::from(address), 0)).await.unwrap())
    }

    pub(crate) async fn send(&self, server: SocketAddr, message: &Message) {
        self.0
            .send_to(&message.to_vec().unwrap(), server)
            .await
            .unwrap();
    }

    pub(crate) async fn send_bytes(&self, server: SocketAddr, bytes: &[u8]) {
        self.0.send_to(bytes, server).await.unwrap();
    }

    pub(crate) async fn receive(&self) -> Message {
        let mut buffer = vec![0; 65_535];
        let (length, _) = timeout(PATIENCE, self.0.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    /// The answer to one question.
    pub(crate) async fn ask(&self, server: SocketAddr, message: &Message) -> Message {
        self.send(server, message).await;
        let answer = self.receive().await;
        assert_eq!(answer.metadata.id, message.metadata.id);
        assert_eq!(answer.queries, message.queries);
        answer
    }
}

/// The answer to one question, from 127.0.0.1.
pub(crate) async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    Client::at([127, 0, 0, 1])
        .await
        .ask(server, &query(name, kind))
        .await
}

/// Code and data of an answer, in a few words.
pub(crate) fn said(answer: &Message) -> String {
    let data = answer.answers.iter().map(|record| record.data.to_string());
    let words = [format!("{:?}", answer.metadata.response_code)]
        .into_iter()
        .chain(data);
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream
        .write_all(&[&length, message].concat())
        .await
        .unwrap();
}

pub(crate) async fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = timeout(PATIENCE, stream.read_u16())
        .await
        .expect("an answer or an end")?;
    let mut message = vec![0; length.into()];
    timeout(PATIENCE, stream.read_exact(&mut message))
        .await
        .expect("the rest")?;
    Ok(message)
}

/// The answer to one question by TCP.
pub(crate) async fn ask_by_tcp(server: SocketAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    write_framed(&mut stream, &message.to_vec().unwrap()).await;
    Message::from_vec(&read_framed(&mut stream).await.unwrap()).unwrap()
}

/// How a question reached a resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Udp,
    Tcp,
}

/// A message that a resolver received.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) message: Message,
    pub(crate) from: SocketAddr,
    pub(crate) by: By,
}

/// A resolver that answers as it is told, with any number of messages, and remembers everything.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    heard: watch::Sender<Vec<Heard>>,
}

impl Fake {
    pub(crate) async fn new(
        answer: impl Fn(&Heard) -> Vec<Message> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let fake = Self {
            address: udp.local_addr().unwrap(),
            heard: watch::Sender::default(),
        };
        let answer = Arc::new(answer);
        tokio::spawn(fake.clone().serve_udp(udp, Arc::clone(&answer)));
        tokio::spawn(fake.clone().serve_tcp(tcp, answer));
        fake
    }

    /// Returns what it heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.borrow().clone()
    }

    /// Returns once it has heard as many questions.
    pub(crate) async fn heard_at_least(&self, count: usize) {
        let mut heard = self.heard.subscribe();
        let enough = heard.wait_for(|heard| heard.len() >= count);
        timeout(PATIENCE, enough)
            .await
            .expect("more questions")
            .unwrap();
    }

    fn hear(&self, bytes: &[u8], from: SocketAddr, by: By) -> Heard {
        let message = Message::from_vec(bytes).unwrap();
        let heard = Heard { message, from, by };
        self.heard.send_modify(|all| all.push(heard.clone()));
        heard
    }

    async fn serve_udp(self, socket: UdpSocket, answer: Arc<impl Fn(&Heard) -> Vec<Message>>) {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            for message in answer(&self.hear(&buffer[..length], from, By::Udp)) {
                socket
                    .send_to(&message.to_vec().unwrap(), from)
                    .await
                    .unwrap();
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener, answer: Arc<impl Fn(&Heard) -> Vec<Message>>) {
        loop {
            let (mut stream, from) = listener.accept().await.unwrap();
            let bytes = read_framed(&mut stream).await.unwrap();
            for message in answer(&self.hear(&bytes, from, By::Tcp)) {
                write_framed(&mut stream, &message.to_vec().unwrap()).await;
            }
        }
    }
}

/// An answer with no records.
pub(crate) fn reply(heard: &Heard, code: ResponseCode) -> Message {
    let mut message = Message::error_msg(heard.message.metadata.id, OpCode::Query, code);
    message.add_queries(heard.message.queries.clone());
    message.metadata.recursion_available = true;
    message
}

/// An answer with this address.
pub(crate) fn address(heard: &Heard, address: [u8; 4], ttl: u32) -> Message {
    let mut message = reply(heard, ResponseCode::NoError);
    let data = RData::from(IpAddr::from(address));
    let name = heard.message.queries[0].name.clone();
    message.add_answer(Record::from_rdata(name, ttl, data));
    message
}

/// An answer that the name is not there, to be remembered for `ttl` seconds.
pub(crate) fn no_name(heard: &Heard, ttl: u32) -> Message {
    let mut message = reply(heard, ResponseCode::NXDomain);
    let root = Name::root();
    let soa = SOA::new(root.clone(), root.clone(), 1, 2, 3, 4, ttl);
    message.add_authority(Record::from_rdata(root, ttl, RData::SOA(soa)));
    message
}
