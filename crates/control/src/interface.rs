//! An endpoint's interface: what it is called where we hold it, and what makes it.

use crate::State;
use crate::model::Endpoint;
use crate::plan::{InterfacePlan, InterfaceStep};
use model::{DatapathKind, Via};

/// The two interfaces in our own namespace by which an endpoint of the kernel's datapath is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSide {
    /// The host's end of the veth.
    pub end: String,
    /// The TAP beside it.
    pub tap: String,
}

impl State {
    /// The host's side of an endpoint that has one. Names differ between daemons that share a namespace,
    /// stay over restarts, and are never given to another endpoint.
    #[must_use]
    pub fn host_side(&self, endpoint: &Endpoint) -> Option<HostSide> {
        endpoint.sandbox.as_ref()?;
        let name = |kind| format!("{}{kind}{:x}", self.own_prefix(), endpoint.id.0);
        match endpoint.datapath {
            DatapathKind::Userspace => None,
            DatapathKind::Kernel => Some(HostSide {
                end: endpoint.veth().map_or_else(|| name('v'), str::to_owned),
                tap: name('t'),
            }),
        }
    }

    /// The beginning of the names of all that we make in our own namespace.
    #[must_use]
    pub fn own_prefix(&self) -> String {
        format!("cw{:04x}", self.seed() & 0xffff)
    }

    /// Returns what the kernel has to do for an endpoint's interface.
    pub fn plan(&self, endpoint: &Endpoint) -> InterfacePlan {
        match self.host_side(endpoint) {
            None => endpoint.userspace(),
            Some(side) => endpoint.kernel(&side),
        }
    }
}

impl Endpoint {
    fn userspace(&self) -> InterfacePlan {
        let make = self.make_tap(self.ifname.clone());
        let (here, there) = match &self.via {
            Via::Veth { .. } => (Vec::new(), Vec::new()),
            Via::MovedTap => (vec![make, self.prepare()], Vec::new()),
            Via::Tap => (Vec::new(), [vec![make], self.configure()].concat()),
        };
        InterfacePlan { here, there }
    }

    fn kernel(&self, side: &HostSide) -> InterfacePlan {
        let hide = |ifname: &String| InterfaceStep::Hide {
            ifname: ifname.clone(),
            endpoint: self.id.to_string(),
        };
        let veth = |there| InterfaceStep::MakeVeth {
            host: side.end.clone(),
            ifname: self.ifname.clone(),
            there,
        };
        let tap = [self.make_tap(side.tap.clone()), hide(&side.tap)];
        let (pair, there) = match &self.via {
            Via::Veth { .. } => (Vec::new(), Vec::new()),
            Via::MovedTap => (
                vec![veth(false), self.prepare(), hide(&side.end)],
                Vec::new(),
            ),
            Via::Tap => (vec![veth(true), hide(&side.end)], self.configure()),
        };
        let here = pair.into_iter().chain(tap).collect();
        InterfacePlan { here, there }
    }

    fn make_tap(&self, ifname: String) -> InterfaceStep {
        InterfaceStep::MakeTap {
            ifname,
            queues: self.queues,
        }
    }

    fn prepare(&self) -> InterfaceStep {
        InterfaceStep::Prepare {
            ifname: self.ifname.clone(),
            mac: self.mac,
            mtu: self.mtu,
        }
    }

    /// Makes the interface in the sandbox usable.
    fn configure(&self) -> Vec<InterfaceStep> {
        let ifname = || self.ifname.clone();
        let configure = InterfaceStep::Configure {
            ifname: ifname(),
            mac: self.mac,
            mtu: self.mtu,
        };
        let addresses = self.addresses.iter();
        let addresses = addresses.map(|&address| InterfaceStep::AddAddress {
            ifname: ifname(),
            address,
        });
        let routes = self.gateways.iter();
        let routes = routes.map(|&gateway| InterfaceStep::DefaultRoute {
            ifname: ifname(),
            gateway,
        });
        [configure]
            .into_iter()
            .chain(addresses)
            .chain(routes)
            .collect()
    }
}
