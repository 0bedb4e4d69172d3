//! The straight line: one frame, from the port it came from to the ports it leaves by.
//!
//! ```text
//!   now, view      once per batch (forwarder.rs)
//!      |
//!   1  parse       headers, once (parse.rs)
//!      arrive      in which form; the ingress mirror's copy
//!   2  admit       may this port send it, in which VLAN?
//!      rate        has the port allowance left?
//!   3  learn       remember where its source is
//!   4  forward     Unicast(port) | Flood(kind) | Gateway
//!      |                                            |
//!      observe     a flood may tell of a neighbour     5  route      may it, and where to?
//!      snoop       do only routers need the flood?     6  translate  as whom?
//!      bridge      do the rules of both ends agree?       forward    again, in the next network
//!      |                                            |
//!   7  egress      which ports, tagged how?
//!      shape       have the receivers allowance left?
//!      |
//!   transmit       forwarder.rs, which carries a rewrite out first
//! ```
//! The line is pure: it reads the frame, writes the copies and what the router says, and changes the
//! live tables only where the context says that the frame is really there. A live frame, `explain`
//! and the tests run this very code.

use crate::parse::parse;
use nat::{Arrival, Outbox, Rewrite, Routed, Router};
use pipeline::{Context, Decision, DropReason, Frame, NetworkId, PortId, Trace};
use switch::fdb::Learning;
use switch::{Admitted, Forward, Ingress, Outputs, Topology};
use wire::{Headers, MacAddr, VlanTag};

/// The straight line, for one frame.
#[derive(Debug)]
pub struct Line<'l, T> {
    /// The switch.
    pub topology: &'l Topology,
    /// The router.
    pub router: &'l Router,
    /// The context that all stages share.
    pub context: Context<T>,
    /// The copies to send. After an error these are at most copies for a mirror.
    pub out: &'l mut Outputs,
    /// What the router sends of its own.
    pub outbox: &'l mut Outbox,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one frame; a box would be an allocation a frame"
)]
pub enum Outcome {
    /// It stays in its network.
    Switched(Forward),
    /// It goes on into another network, after `rewrite`.
    Routed {
        /// Which one.
        network: NetworkId,
        /// Where in it.
        forward: Forward,
        /// How it is changed.
        rewrite: Rewrite,
        /// Its headers as they are, which the rewrite needs.
        headers: Headers,
    },
    /// It was for the router.
    Taken,
}

impl<T: Trace> Line<'_, T> {
    /// Decides what becomes of `frame`, which came from the port `from`.
    ///
    /// # Errors
    /// Why the frame goes nowhere.
    pub fn process(&mut self, frame: &Frame<'_>, from: PortId) -> Result<Outcome, DropReason> {
        self.out.clear();
        let verdict = self.run(frame, from);
        self.noted(verdict)
    }

    /// Decides where a frame goes that the router itself sends into `network`.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn emit(&mut self, frame: &Frame<'_>, network: NetworkId) -> Result<Forward, DropReason> {
        self.out.clear();
        let sent = parse(&mut self.context, frame).and_then(|headers| {
            let packet_len = wire::wire_mtu(&frame.vnet, &headers, frame.len());
            self.enter(frame, network, headers.dst, packet_len)
        });
        self.noted(sent)
    }

    #[inline]
    fn run(&mut self, frame: &Frame<'_>, from: PortId) -> Result<Outcome, DropReason> {
        let Self {
            topology,
            router,
            context,
            out,
            outbox,
        } = self;
        let headers = parse(context, frame)?;
        let ingress = topology.ingress(from, frame.tunnel)?;
        switch::arrive(context, topology, ingress, &headers, out);
        let admitted = switch::admit(context, ingress, &headers)?;
        switch::within_rate(context, ingress, frame)?;
        let learning = switch::learn(context, ingress, admitted.vlan, headers.src)?;
        out.sender_moved = matches!(learning, Learning::Moved { .. });
        let forward = switch::forward(context, ingress, admitted.vlan, headers.src, headers.dst)?;
        let arrival = Arrival {
            network: ingress.network.id,
            from,
            frame,
            headers: &headers,
        };
        let forward = match forward {
            Forward::Gateway => return self.route(&arrival),
            Forward::Flood(_) if claims(router, ingress, &admitted, &arrival) => {
                return self.route(&arrival);
            }
            Forward::Flood(flood) => {
                nat::observe(context, router, &arrival, outbox);
                switch::snoop(context, ingress, &headers, frame.bytes(), flood)
            }
            Forward::Unicast(_) => forward,
        };
        nat::bridge(context, router, &arrival)?;
        let packet_len = wire::wire_mtu(&frame.vnet, &headers, frame.len());
        self.leave(frame, ingress, &admitted, forward, packet_len)?;
        Ok(Outcome::Switched(forward))
    }

    /// Route and translate; then forward again, in the network that the packet goes to.
    fn route(&mut self, arrival: &Arrival<'_>) -> Result<Outcome, DropReason> {
        match nat::route(&mut self.context, self.router, arrival, self.outbox)? {
            Routed::Taken => Ok(Outcome::Taken),
            Routed::Forward(network, rewrite) => {
                let Arrival { headers, frame, .. } = *arrival;
                let whole = || wire::wire_mtu(&frame.vnet, headers, frame.len());
                let packet_len = rewrite.fragment.map_or_else(whole, usize::from);
                let forward = self.enter(frame, network, rewrite.dst_mac, packet_len)?;
                Ok(Outcome::Routed {
                    network,
                    forward,
                    rewrite,
                    headers: *headers,
                })
            }
        }
    }

    /// Forward and egress of a frame that enters `network` through its gateway, to `dst`.
    fn enter(
        &mut self,
        frame: &Frame<'_>,
        network: NetworkId,
        dst: MacAddr,
        packet_len: usize,
    ) -> Result<Forward, DropReason> {
        let gateway = self.topology.gateway(network);
        let (ingress, gateway) = gateway.ok_or(DropReason::NoRoute)?;
        let admitted = Admitted {
            vlan: gateway.vlan,
            tag: None,
            tpid: VlanTag::CTAG,
        };
        let context = &mut self.context;
        let forward = switch::forward(context, ingress, gateway.vlan, gateway.mac, dst)?;
        self.leave(frame, ingress, &admitted, forward, packet_len)?;
        Ok(forward)
    }

    #[inline]
    fn leave(
        &mut self,
        frame: &Frame<'_>,
        ingress: Ingress<'_>,
        admitted: &Admitted,
        forward: Forward,
        packet_len: usize,
    ) -> Result<(), DropReason> {
        let Self {
            topology,
            context,
            out,
            ..
        } = self;
        switch::egress(
            context, topology, ingress, admitted, forward, packet_len, out,
        )?;
        switch::shape(context, topology, frame, forward, out)
    }

    fn noted<V>(&mut self, verdict: Result<V, DropReason>) -> Result<V, DropReason> {
        if let Err(reason) = verdict {
            self.context.tell(Decision::Dropped { reason });
        }
        verdict
    }
}

/// Returns whether a frame that would be flooded is the router's business: a question for its address.
fn claims(
    router: &Router,
    ingress: Ingress<'_>,
    admitted: &Admitted,
    arrival: &Arrival<'_>,
) -> bool {
    let gateway = ingress.network.gateway;
    gateway.is_some_and(|g| g.vlan == admitted.vlan)
        && router.claims(arrival.network, arrival.headers)
}
