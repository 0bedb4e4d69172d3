//! A host with a TCP/IP stack of its own (smoltcp), and the programs that run on it.

use crate::app::App;
use crate::nic::{Nic, Packet, Refused};
use crate::rng::Rng;
use pipeline::Instant;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use wire::{MacAddr, VlanTag};

/// The configuration of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostConfig {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Ipv6Addr,
    /// How many bits of either are its network's.
    pub prefixes: (u8, u8),
    /// The way to everybody else, where there is one.
    pub gateways: Option<(Ipv4Addr, Ipv6Addr)>,
    /// More addresses, each by itself: a host that plays many.
    pub also: &'static [IpAddr],
    /// The largest IP packet it sends.
    pub mtu: u16,
    /// The VLAN tag its card wears.
    pub tag: Option<VlanTag>,
    /// Whether its card takes and gives superframes.
    pub superframes: bool,
}

impl HostConfig {
    /// Host `number` of the network 10.0.0.0/16 and fd00::/64, counted from one.
    #[must_use]
    pub fn numbered(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self {
            mac: MacAddr([0x02, 0x42, 0, 0, high, low]),
            ipv4: Ipv4Addr::new(10, 0, high, low),
            ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number),
            prefixes: (16, 64),
            gateways: None,
            also: &[],
            mtu: 1500,
            tag: None,
            superframes: false,
        }
    }

    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        [IpAddr::V4(self.ipv4), IpAddr::V6(self.ipv6)]
    }
}

/// A host, as its program sees it.
#[expect(missing_debug_implementations, reason = "smoltcp's interface has none")]
pub struct Stack<'a> {
    /// The interface, for `connect`.
    pub interface: &'a mut Interface,
    /// The sockets.
    pub sockets: &'a mut SocketSet<'static>,
    /// The host's own luck.
    pub rng: &'a mut Rng,
    /// The time.
    pub now: Instant,
}

pub(crate) struct Host {
    interface: Interface,
    sockets: SocketSet<'static>,
    nic: Nic,
    rng: Rng,
    pub(crate) apps: Vec<Box<dyn App>>,
}

/// Rounds of stack and programs at one moment. Only a program that never rests needs more.
const ROUNDS: usize = 256;
/// A stack that says "at once" after everything was done is asked again this much later.
const BREATH: Duration = Duration::from_micros(100);

impl Host {
    pub(crate) fn new(config: &HostConfig, mut rng: Rng) -> Self {
        let mut nic = Nic::new(config.mtu, config.tag, config.superframes);
        let mut settings = Config::new(HardwareAddress::Ethernet(EthernetAddress(config.mac.0)));
        settings.random_seed = rng.next_u64();
        let mut interface = Interface::new(settings, &mut nic, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let own = config.addresses().map(IpAddress::from);
            let (v4, v6) = config.prefixes;
            let alone = |ip: IpAddr| IpCidr::new(ip.into(), if ip.is_ipv4() { 32 } else { 128 });
            let on_link = [IpCidr::new(own[0], v4), IpCidr::new(own[1], v6)];
            for cidr in on_link
                .into_iter()
                .chain(config.also.iter().map(|&ip| alone(ip)))
            {
                addresses.push(cidr).expect("room for eight addresses");
            }
        });
        if let Some((v4, v6)) = config.gateways {
            let routes = interface.routes_mut();
            routes.add_default_ipv4_route(v4).expect("room for a route");
            routes.add_default_ipv6_route(v6).expect("room for a route");
        }
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            nic,
            rng,
            apps: Vec::new(),
        }
    }

    /// Takes a frame from the wire; [`Host::run`] looks at it.
    pub(crate) fn take(&mut self, packet: Packet) {
        self.nic.take(packet);
    }

    /// Lets stack and programs do all they can at `now`. Answers the frames that leave and when
    /// to run next.
    pub(crate) fn run(&mut self, now: Instant) -> (Vec<Packet>, Option<Instant>) {
        let at = smoltcp::time::Instant::from_micros(
            i64::try_from(now.as_nanos() / 1000).unwrap_or(i64::MAX),
        );
        let mut wake = None;
        for _ in 0..ROUNDS {
            let changed =
                self.interface.poll(at, &mut self.nic, &mut self.sockets) != PollResult::None;
            let Self {
                interface,
                sockets,
                rng,
                apps,
                ..
            } = self;
            let mut stack = Stack {
                interface,
                sockets,
                rng,
                now,
            };
            wake = apps.iter_mut().filter_map(|app| app.poll(&mut stack)).min();
            let pending = self
                .interface
                .poll_at(at, &self.sockets)
                .is_some_and(|next| next <= at);
            if !changed && !pending {
                break;
            }
            if !changed {
                // Pending without change: the stack waits for a neighbour it may not ask for yet.
                wake = earlier(wake, Some(now + BREATH));
                break;
            }
        }
        let next = self
            .interface
            .poll_at(at, &self.sockets)
            .map(|next| Instant::from_nanos(next.total_micros().unsigned_abs() * 1000));
        let next = earlier(wake, next).map(|next| next.max(now + BREATH));
        (self.nic.tx.drain(..).collect(), next)
    }

    pub(crate) fn refused(&self) -> Refused {
        self.nic.refused
    }

    pub(crate) fn done(&self) -> bool {
        self.apps.iter().all(|app| app.done())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("nic", &self.nic)
            .field("apps", &self.apps)
            .finish_non_exhaustive()
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}
