//! Actions of a plan, carried out.

use super::host_links::{OpenStack, OpenUplink};
use super::make::{open_tap, reopen_tap};
use super::open::{Condition, Interface, OpenPort, Opened};
use super::writer::Writer;
use crate::listeners::Listeners;
use crate::plan::{self, Trouble};
use api::ApiError;
use api::{Listener, PortRange};
use control::reconcile::{Captures, Ports, STACK_MTU, Waiting, Way};
use control::{Action, Attachment, Hidden, Publication, PublicationId, Uplink};
use host::{Gateway, GatewayPort, Inside, Netns, Stack};
use offload::Interfaces;
use pipeline::{NetworkId, PortId};
use port::Gone;
use std::collections::BTreeSet;
use std::net::IpAddr;
use wire::IpProtocol;

impl Writer {
    /// Carries out `actions`. Returns those that failed, each with the reason.
    pub(super) fn carry_out(&mut self, actions: &[Action]) -> Vec<(Action, String)> {
        plan::carry_out(actions, |action| self.act(action))
    }

    fn act(&mut self, action: &Action) -> Result<(), Trouble> {
        match action {
            Action::ClosePort(id) => self.close_for_good(*id),
            Action::LosePort(id) => self.lose(*id),
            Action::RemoveStray(ifname) => {
                Netns::with_own_links(|links| links.remove(ifname))?;
                tracing::info!(%ifname, "removed: its endpoint is no more");
            }
            Action::PutPrograms(id) => self.put_back(*id)?,
            Action::CloseUplink(name) => return self.close_uplink(name),
            Action::CloseStack(which) => self.close_stack(*which),
            Action::RemoveWay(which, way) => return self.remove_way(*which, way),
            Action::Unserve(network) => self.servers.withdraw(*network),
            Action::Unlisten(id) => drop(self.listeners.remove(id)),
            Action::Undo(left) => {
                return Netns::with_own_links(|links| plan::undo(links, left));
            }
            Action::HoldPort(id, why) => self.hold(*id, *why),
            Action::OpenPort(id) => self.open_again(*id),
            Action::TakeOver(ifname) => {
                Netns::with_own_links(|links| links.take_over(ifname))?;
            }
            Action::OpenUplink(uplink, captures) => return self.open_uplink(uplink, captures),
            Action::Capture(name, captures) => return self.capture(name, captures),
            Action::OpenStack(which, place) => return self.open_stack(*which, *place),
            Action::AddWay(which, way) => return self.add_way(*which, way),
            Action::Serve(network, ip) => return self.serve_names(*network, *ip),
            Action::Listen(id) => return self.listen_for(*id),
        }
        Ok(())
    }

    fn hold(&mut self, id: PortId, why: Waiting) {
        let why = match why {
            Waiting::NotJoined => "no sandbox has joined the endpoint",
            Waiting::Restarted => "the daemon was restarted; set it up to begin anew",
        };
        self.open.insert(id, OpenPort::down(why));
    }

    fn lose(&mut self, id: PortId) {
        let why = Gone::Removed.to_string();
        if let Some(port) = self.state.port(id) {
            tracing::warn!(port = %port.name, "{why}");
        }
        self.close_as(id, Condition::Dead(why));
    }

    /// Opens a port that an earlier daemon had. One that cannot be opened is kept, dead, with the
    /// reason.
    fn open_again(&mut self, id: PortId) {
        let Some(port) = self.state.port(id).cloned() else {
            return;
        };
        let taken = self
            .reopen(&port)
            .map_err(Trouble::from)
            .and_then(|(opened, netns)| {
                opened.persist()?;
                self.put_programs(opened.programs)?;
                Ok(self.take_in(id, netns, opened)?)
            });
        if let Err(Trouble(why)) = taken {
            self.warn(format!("port {} could not be opened: {why}", port.name));
            let endpoint = self.state.endpoint_of(&port);
            let interface = endpoint.map_or(Interface::Other, |it| Interface::of(&self.state, it));
            let netns = self
                .state
                .sandbox_of(&port)
                .map(|s| super::open::netns_of(&s));
            self.open.insert(id, OpenPort::dead(netns, interface, why));
        }
    }

    fn open_uplink(&mut self, uplink: &Uplink, captures: &Captures) -> Result<(), Trouble> {
        let tap = self.tap_name("up", uplink.place);
        let nic = self.place_of_program(uplink)?;
        let opened = self
            .open_tap_of(&tap, uplink.place.port, nic)
            .and_then(|()| {
                let config = host::UplinkConfig {
                    nic: &uplink.dev,
                    tap: &tap,
                    captures: &in_kernels_words(captures),
                    reserve: &[uplink.ports.iter()],
                };
                Netns::with_own_links(|links| {
                    host::Uplink::open(links, &config).map_err(Trouble::from)
                })
            });
        match opened {
            Ok(link) => {
                self.program_uplink(uplink, link.nic_index());
                let open = OpenUplink {
                    link,
                    uplink: uplink.clone(),
                    captures: captures.clone(),
                };
                self.host_links.uplinks.insert(uplink.name.clone(), open);
                tracing::info!(uplink = %uplink.name, dev = %uplink.dev, "open");
                Ok(())
            }
            Err(why) => {
                // The TAP may be there although the rest of it never was.
                self.close_for_good(uplink.place.port);
                Err(why)
            }
        }
    }

    fn close_uplink(&mut self, name: &str) -> Result<(), Trouble> {
        let Some(open) = self.host_links.uplinks.remove(name) else {
            return Ok(());
        };
        // The program is in the uplink's qdisc.
        self.take_programs(open.uplink.place.port);
        let closed = Netns::with_own_links(|links| Ok::<_, host::Error>(open.link.close(links)));
        self.close_for_good(open.uplink.place.port);
        all_done(&closed?)
    }

    fn capture(&mut self, name: &str, captures: &Captures) -> Result<(), Trouble> {
        let Some(open) = self.host_links.uplinks.get_mut(name) else {
            return Ok(());
        };
        let wanted = in_kernels_words(captures);
        let updated = Netns::with_own_links(|links| open.link.update(links, &wanted));
        match updated {
            Ok(()) => {
                open.captures.clone_from(captures);
                Ok(())
            }
            Err(error) => {
                self.close_uplink(name)?;
                Err(error.into())
            }
        }
    }

    fn open_stack(&mut self, which: Hidden, place: Attachment) -> Result<(), Trouble> {
        let opened = match which {
            Hidden::Host => self.open_host(place),
            Hidden::Services => self.open_services(place),
        };
        match opened {
            Ok((netns, link)) => {
                *self.host_links.stack_mut(which) = Some(OpenStack {
                    netns,
                    link,
                    ways: BTreeSet::new(),
                    place,
                });
                Ok(())
            }
            Err(why) => {
                // The TAP may be there although the rest of it never was.
                self.close_for_good(place.port);
                Err(why)
            }
        }
    }

    fn open_host(
        &mut self,
        place: Attachment,
    ) -> Result<(Option<host::Private>, GatewayPort), Trouble> {
        let ifname = self.tap_name("host", place);
        self.open_stack_tap(&ifname, place.port)?;
        let link = Netns::with_own_links(|links| {
            GatewayPort::open(links, &ifname, Stack::Host, STACK_MTU)
        })?;
        Ok((None, link))
    }

    fn open_services(
        &mut self,
        place: Attachment,
    ) -> Result<(Option<host::Private>, GatewayPort), Trouble> {
        let make = |inside: &Inside| {
            let tap = open_tap(SERVICES, 1, false)?;
            let links = inside.links()?;
            let link = GatewayPort::open(&links, SERVICES, Stack::Services, STACK_MTU)?;
            Ok::<_, Trouble>((Opened::from(tap), link))
        };
        let netns = host::Private::new()?;
        let (opened, link) = netns.run(make)?;
        self.take_in(place.port, None, opened)?;
        Ok((Some(netns), link))
    }

    fn close_stack(&mut self, which: Hidden) {
        if let Some(open) = self.host_links.stack_mut(which).take() {
            if which == Hidden::Services {
                self.servers.withdraw_all();
            }
            self.close_for_good(open.place.port);
        }
    }

    fn add_way(&mut self, which: Hidden, way: &Way) -> Result<(), Trouble> {
        let Some(open) = self.host_links.stack_mut(which) else {
            return Ok(());
        };
        let gateway = gateway(way);
        let added = open.run(|links| {
            Ok(match &way.bridge {
                Some(bridge) => open.link.add_in_front_of(links, gateway, bridge),
                None => open.link.add(links, gateway),
            })
        });
        added??;
        open.ways.insert(way.clone());
        Ok(())
    }

    fn remove_way(&mut self, which: Hidden, way: &Way) -> Result<(), Trouble> {
        let Some(open) = self.host_links.stack_mut(which) else {
            return Ok(());
        };
        open.ways.remove(way);
        let left = open.run(|links| Ok(open.link.remove(links, gateway(way))))?;
        all_done(&left)
    }

    fn serve_names(&mut self, network: NetworkId, ip: IpAddr) -> Result<(), Trouble> {
        let open = self.host_links.stack(Hidden::Services);
        match open.and_then(|open| open.netns.as_ref()) {
            Some(netns) => self.servers.serve(netns, network, ip),
            None => Ok(()),
        }
    }

    fn listen_for(&mut self, id: PublicationId) -> Result<(), Trouble> {
        if let Some(publication) = self.state.publication(id) {
            let listeners = self.listen(publication)?;
            self.listeners.insert(id, listeners);
        }
        Ok(())
    }

    /// Listens at the host's own published ports.
    ///
    /// # Errors
    /// Another program has one of them.
    pub(super) fn listen(&self, publication: &Publication) -> Result<Listeners, ApiError> {
        let expanded = match publication.listener {
            Listener::Ours => self.state.expanded(publication),
            Listener::Another => Vec::new(),
        };
        Listeners::open(&tokio::runtime::Handle::current(), &expanded)
            .map_err(|taken| ApiError::already_exists(taken.to_string()))
    }

    /// Tells the listeners which backends there are.
    pub(super) fn lead_listeners(&mut self) {
        let ours = |p: &&Publication| p.listener == Listener::Ours;
        for publication in self.state.publications().filter(ours) {
            if let Some(listeners) = self.listeners.get_mut(&publication.id) {
                listeners.lead_to(&self.state.expanded(publication));
            }
        }
    }

    /// Makes a TAP in the daemon's namespace, or takes up the one an earlier daemon left.
    fn open_stack_tap(&mut self, ifname: &str, port: PortId) -> Result<(), Trouble> {
        self.open_tap_of(ifname, port, None)
    }

    /// The same for a port with a program.
    fn open_tap_of(
        &mut self,
        ifname: &str,
        port: PortId,
        programs: Option<Interfaces>,
    ) -> Result<(), Trouble> {
        let tap = reopen_tap(ifname, 1)?;
        let opened = Opened {
            programs,
            ..Opened::from(tap)
        };
        Ok(self.take_in(port, None, opened)?)
    }

    /// Names differ between daemons that share a namespace, and stay over restarts.
    fn tap_name(&self, kind: &str, place: Attachment) -> String {
        format!("{}{kind}{}", self.state.own_prefix(), place.network.0)
    }
}

/// The interface in our own namespace; nobody else is there.
const SERVICES: &str = "gateway";

fn gateway(way: &Way) -> Gateway {
    Gateway {
        address: way.address,
        subnet: way.subnet,
    }
}

fn all_done(left: &[host::Error]) -> Result<(), Trouble> {
    let left: Vec<String> = left.iter().map(ToString::to_string).collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(Trouble(left.join("; "))),
    }
}

fn in_kernels_words(captures: &Captures) -> host::Captures {
    let addresses = captures.addresses.iter();
    host::Captures {
        addresses: addresses.map(|(ip, ports)| (*ip, sorted(ports))).collect(),
        networks: captures.networks.clone(),
    }
}

fn sorted(ports: &Ports) -> host::Ports {
    let of = |protocol: IpProtocol| {
        let own = ports.ports.iter().filter(|(p, _)| *p == protocol);
        own.map(|(_, ports)| ports.iter()).collect()
    };
    host::Ports {
        tcp: of(IpProtocol::TCP),
        udp: of(IpProtocol::UDP),
        sctp: of(IpProtocol::SCTP),
        echo: ports.echo.into_iter().map(PortRange::iter).collect(),
    }
}
