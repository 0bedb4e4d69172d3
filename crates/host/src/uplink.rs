//! An uplink: a NIC that the host and we both use.
//!
//! ```text
//!              NIC, ingress                           host's stack
//!   wire --->  clsact: steal ──redirect──┐               ^
//!                      copy ───mirror────┤               │ everything else
//!                      ──────────────────│───────────────┘
//!              NIC, egress  <──redirect──│── clsact: out ── uplink TAP, ingress
//!                                        └──> uplink TAP ──> our descriptor
//! ```
//! The kernel moves frames between NIC and TAP without looking into them, superframes and
//! unfinished checksums included. There is no address, no route and no firewall rule.
//!
//! What shaped it:
//! * **The host must not answer for us.** Its stack knows nothing of containers' connections and
//!   resets them; so their packets are stolen before it sees them, and stay stolen while no daemon
//!   runs: a persistent TAP without a reader swallows them, and connections outlive a restart.
//! * **Everything can be found again**: filters by priority, handle and cookie, the TAP by its note.
//!   Opening an uplink that a dead process left makes it ours.
//! * **Reserved ports** keep sockets of the host out of the range that connections of containers
//!   leave from; a socket that is in that range already, a service or a connection, is *spared*: its
//!   port stays the host's while it lasts. One that listens for the host at a published port of that
//!   range (ours, or docker-proxy) is not: what comes by the NIC is the container's.
//!
//! Calls are made on a thread inside the namespace of the NIC.

use crate::capture::{self, Captures, Ports};
use crate::execute::Failed;
use crate::note::Note;
use crate::reserved::{PortSet, reserve};
use crate::traffic_control::{Filter, FilterKind, QdiscOrigin};
use crate::{Error, LinkState, Links, sysctl};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How often the host's sockets are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What an uplink is made of.
#[derive(Debug, Clone, Copy)]
pub struct UplinkConfig<'a> {
    /// The NIC.
    pub nic: &'a str,
    /// The TAP: made by whoever reads it, in the same namespace.
    pub tap: &'a str,
    /// What arrives for us.
    pub captures: &'a Captures,
    /// The ports that connections of containers leave from: sockets of the host are not given any
    /// of them, and those that have one keep it.
    pub reserve: &'a [RangeInclusive<u16>],
}

/// An open uplink. It stays open when this value is dropped: what is in the kernel outlives us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    nic: String,
    nic_index: u32,
    qdisc: QdiscOrigin,
    tap: String,
    tap_index: u32,
    pool: PortSet,
    reserved: PortSet,
    spared: Ports,
    looked: Looked,
}

/// When the host's sockets were last looked at. Two uplinks differ in what they are, not in this.
#[derive(Debug, Clone, Copy)]
struct Looked(Option<Instant>);

impl PartialEq for Looked {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Looked {}

impl Uplink {
    /// Joins the TAP to the NIC, or takes over what an earlier process left of the same uplink
    /// without losing a packet. All or nothing.
    ///
    /// # Errors
    /// [`Error::NotEthernet`], [`Error::TooManyPorts`] before anything was done, [`Error::Link`]
    /// and [`Error::Sysctl`] when the kernel refuses.
    pub fn open(links: &Links, config: &UplinkConfig<'_>) -> Result<Self, Failed<Error>> {
        let mut uplink = Self::find(links, config)?;
        match uplink.establish(links, config) {
            Ok(()) => Ok(uplink),
            Err(error) => Err(Failed {
                error,
                left_behind: uplink.close(links),
            }),
        }
    }

    /// Captures something else from now on, and looks anew at which ports are to be spared unless
    /// that was done within a second: a list of ten thousand sockets takes its time. Each packet is
    /// judged by the old captures or by the new ones.
    ///
    /// # Errors
    /// [`Error::TooManyPorts`] and nothing changes; [`Error::Link`] with ENODEV when the NIC or the
    /// TAP is gone.
    pub fn update(&mut self, links: &Links, captures: &Captures) -> Result<(), Error> {
        if self.looked.0.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.look(links, captures)?;
        }
        let programs = captures.without(&self.spared).programs()?;
        self.put_on_nic(links, FilterKind::Steal, &programs.steal)?;
        self.put_on_nic(links, FilterKind::Copy, &programs.copy)?;
        Ok(())
    }

    /// Returns whether all of it is still there: somebody else may have removed the qdisc, or the NIC
    /// itself.
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn is_in_place(&self, links: &Links) -> Result<bool, Error> {
        let there = |ifname: &str, index, kinds: &[FilterKind]| -> Result<bool, Error> {
            if links
                .state(ifname)?
                .is_none_or(|state| state.index != index)
            {
                return Ok(false);
            }
            let found = links.our_filters(ifname, index)?;
            Ok(kinds
                .iter()
                .all(|kind| found.iter().any(|it| it.kind == *kind)))
        };
        Ok(there(
            &self.nic,
            self.nic_index,
            &[FilterKind::Steal, FilterKind::Copy],
        )? && there(&self.tap, self.tap_index, &[FilterKind::Out])?)
    }

    /// Parts the two: from now on the host has its NIC for itself. The TAP stays, for whoever made
    /// it. Lists what could not be undone.
    #[must_use = "what could not be undone is still there"]
    pub fn close(&self, links: &Links) -> Vec<Error> {
        let on_nic = [FilterKind::Steal, FilterKind::Copy]
            .map(|kind| links.remove_filter(&self.nic, &self.on_nic(kind)));
        let qdisc = match self.qdisc {
            QdiscOrigin::Ours => links.remove_empty_clsact(&self.nic, self.nic_index),
            QdiscOrigin::Foreign => Ok(()),
        };
        let on_tap = [
            links.remove_filter(&self.tap, &self.on_tap()),
            links.remove_empty_clsact(&self.tap, self.tap_index),
        ];
        let unreserved = self.reserve(links, &PortSet::default()).map(drop);
        on_nic
            .into_iter()
            .chain([qdisc])
            .chain(on_tap)
            .chain([unreserved])
            .filter_map(Result::err)
            .collect()
    }

    /// The NIC.
    #[must_use]
    pub fn nic(&self) -> &str {
        &self.nic
    }

    /// The NIC's number.
    #[must_use]
    pub fn nic_index(&self) -> u32 {
        self.nic_index
    }

    /// The TAP.
    #[must_use]
    pub fn tap(&self) -> &str {
        &self.tap
    }

    /// The ports that are reserved because of this uplink, and were not before.
    #[must_use]
    pub fn reserved(&self) -> Vec<RangeInclusive<u16>> {
        self.reserved.ranges()
    }

    /// Ports among those that connections of containers leave from which sockets of the host had
    /// at the last [`Uplink::update`]: what arrives there is the host's.
    #[must_use]
    pub fn spared(&self) -> &Ports {
        &self.spared
    }

    /// Looks at both interfaces and at what an earlier process left on them.
    fn find(links: &Links, config: &UplinkConfig<'_>) -> Result<Self, Error> {
        let nic = links.existing(config.nic)?;
        if !nic.ethernet {
            return Err(Error::NotEthernet {
                ifname: config.nic.to_owned(),
            });
        }
        let tap = links.existing(config.tap)?;
        let left = links.our_filters(config.nic, nic.index)?;
        Ok(Self {
            nic: config.nic.to_owned(),
            nic_index: nic.index,
            qdisc: left
                .first()
                .map_or(QdiscOrigin::Foreign, |filter| filter.qdisc),
            tap: config.tap.to_owned(),
            tap_index: tap.index,
            pool: PortSet::of(config.reserve),
            reserved: reserved_by(&tap),
            spared: Ports::default(),
            looked: Looked(None),
        })
    }

    fn establish(&mut self, links: &Links, config: &UplinkConfig<'_>) -> Result<(), Error> {
        config.captures.programs()?;
        self.reserved = self.reserve(links, &self.pool)?;
        let note = Note::Uplink {
            nic: self.nic.clone(),
            reserved: self.reserved.clone(),
        };
        links.set_alias(&self.tap, &note.alias())?;
        self.raise_tap(links)?;
        if links.add_clsact(&self.nic, self.nic_index)? == QdiscOrigin::Ours {
            self.qdisc = QdiscOrigin::Ours;
        }
        self.update(links, config.captures)
    }

    /// Sees which ports of the pool sockets of the host have, but for those that are captured beside
    /// the pool.
    fn look(&mut self, links: &Links, captures: &Captures) -> Result<(), Error> {
        let addresses: Vec<_> = captures.addresses.iter().map(|(ip, _)| *ip).collect();
        let used = links.ports_in_use(&addresses)?;
        let pool = self.pool.ranges();
        // What is captured for its own sake is ours, also where a listener has it for the host.
        let spared = |used: &[_], captured: fn(&Ports) -> &[RangeInclusive<u16>]| {
            let all = captures
                .addresses
                .iter()
                .flat_map(|(_, ports)| captured(ports));
            let own: Vec<_> = all.filter(|range| !pool.contains(range)).cloned().collect();
            let of_pool = PortSet::of(used).and(&self.pool);
            of_pool.minus(&PortSet::of(&own)).ranges()
        };
        self.spared = Ports {
            tcp: spared(&used.tcp, |ports| &ports.tcp),
            udp: spared(&used.udp, |ports| &ports.udp),
            ..Ports::default()
        };
        self.looked = Looked(Some(Instant::now()));
        Ok(())
    }

    /// Reserves these ports for this uplink, and no others any more.
    fn reserve(&self, links: &Links, wanted: &PortSet) -> Result<PortSet, Error> {
        let all = links.all()?;
        let others = all
            .iter()
            .filter(|(_, state)| state.index != self.tap_index);
        let notes: Vec<_> = others
            .filter_map(|(_, state)| Note::parse(state.alias.as_deref()?))
            .collect();
        reserve(wanted, &self.reserved, &Note::reserved(notes.iter()))
    }

    /// The TAP has the NIC's MTU, nothing of the host's own to say, and leads to the NIC.
    fn raise_tap(&self, links: &Links) -> Result<(), Error> {
        sysctl::no_ipv6(&self.tap)?;
        let mtu = links.existing(&self.nic)?.mtu;
        links.set_mtu(&self.tap, u16::try_from(mtu).unwrap_or(u16::MAX))?;
        links.add_clsact(&self.tap, self.tap_index)?;
        links.put_filter(
            &self.tap,
            &self.on_tap(),
            &capture::everything(),
            self.nic_index,
        )?;
        links.set_up(&self.tap, true)
    }

    fn put_on_nic(
        &self,
        links: &Links,
        kind: FilterKind,
        program: &[capture::Instruction],
    ) -> Result<(), Error> {
        links.put_filter(&self.nic, &self.on_nic(kind), program, self.tap_index)
    }

    fn on_nic(&self, kind: FilterKind) -> Filter {
        Filter {
            kind,
            index: self.nic_index,
            qdisc: self.qdisc,
        }
    }

    fn on_tap(&self) -> Filter {
        Filter {
            kind: FilterKind::Out,
            index: self.tap_index,
            qdisc: QdiscOrigin::Ours,
        }
    }
}

/// The ports that the TAP's note says were reserved for it.
fn reserved_by(tap: &LinkState) -> PortSet {
    let note = tap.alias.as_deref().and_then(Note::parse);
    Note::reserved(note.iter())
}
