//! Requests to make an endpoint, in a sandbox or waiting for one, and to take it away.

use crate::desired::Network;
use crate::ipam::derive_mac;
use crate::model::{
    Endpoint, EndpointId, Isolation, NamespaceId, Port, PortKind, PortSettings, Sandbox,
};
use crate::network::is_special;
use crate::placed::PlacedNetwork;
use crate::plan::{InterfacePlan, TAP_MTU_MAX};
use crate::{Change, Error, State};
use ipnet::IpNet;
use model::{Attach, DatapathKind, Invalid, Lock, Policy, Via, VlanMode};
use pipeline::NetworkId;
use std::collections::BTreeSet;
use std::net::IpAddr;
use wire::MacAddr;

impl State {
    /// Checks an endpoint to be made; `identity` is that of the namespace that it names, and `datapath`
    /// the one in force for it there. The plan is what the kernel has to do for it.
    ///
    /// # Errors
    /// Which value does not do, and what would.
    pub fn attach(
        &self,
        request: &Attach,
        identity: Option<NamespaceId>,
        datapath: DatapathKind,
    ) -> Result<(Endpoint, Change, InterfacePlan), Error> {
        let network = self.network_named(request.network.as_str())?;
        request.check()?;
        self.check_room()?;
        let sandbox = request.netns.clone();
        let sandbox = sandbox.map(|namespace| Sandbox {
            namespace,
            identity,
        });
        if let Some(sandbox) = &sandbox {
            self.check_interface_free(Some(sandbox), &request.ifname)?;
        }
        let id = EndpointId(self.placed.next_endpoint);
        self.check_name(network, id, request.name.as_ref())?;
        let name = self.port_name(id, request.name.as_ref())?;
        let addresses = self.choose_addresses(network, sandbox.as_ref(), request)?;
        let endpoint = Endpoint {
            id,
            network: network.id,
            port: self.free_port_id(),
            via: Via::Tap,
            asked: request.datapath,
            datapath: if sandbox.is_some() {
                datapath
            } else {
                DatapathKind::default()
            },
            name: request.name.clone(),
            aliases: request.aliases.clone(),
            ifname: request.ifname.clone(),
            mac: self.choose_mac(network, sandbox.as_ref(), request, id, &addresses)?,
            gateways: choose_gateways(&network, request, &addresses)?,
            mtu: choose_mtu(&network, request, &addresses)?,
            sandbox,
            addresses,
            queues: request.queues,
            policy: Policy::default(),
            labels: request.labels.clone(),
        };
        let (port, plan) = (port_of(&endpoint, name, request), self.plan(&endpoint));
        Ok((
            endpoint.clone(),
            Change::PutEndpoint(Box::new((endpoint, port))),
            plan,
        ))
    }

    /// Checks an endpoint's removal.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn detach(&self, id: EndpointId) -> Result<(Endpoint, Change), Error> {
        let endpoint = self.endpoint_with(id)?;
        Ok((
            endpoint.clone(),
            Change::All(vec![
                Change::All(self.unpublish_all(id)),
                self.without_mentions(endpoint.port, Change::DropEndpoint(id)),
            ]),
        ))
    }

    fn choose_addresses(
        &self,
        network: PlacedNetwork<'_>,
        sandbox: Option<&Sandbox>,
        request: &Attach,
    ) -> Result<Vec<IpNet>, Error> {
        let mut chosen = Vec::new();
        for &wanted in &request.addresses {
            check_address(&network, wanted)?;
            self.check_address_free(network.id, sandbox, wanted.addr(), &chosen)?;
            chosen.push(wanted);
        }
        let asked = |ipv4| {
            request
                .addresses
                .iter()
                .any(|net| net.addr().is_ipv4() == ipv4)
        };
        let taken: BTreeSet<_> = self.taken_addresses(network.id).collect();
        for subnet in network
            .subnets
            .iter()
            .filter(|s| !asked(s.net.addr().is_ipv4()))
        {
            let full = || Error::SubnetFull(subnet.net, network.name.clone());
            let address = subnet
                .lowest_free(&taken, &network.reserved)
                .ok_or_else(full)?;
            let length = subnet.net.prefix_len();
            chosen.push(
                IpNet::new(address, length).expect("the subnet's own length fits its addresses"),
            );
        }
        Ok(chosen)
    }

    fn choose_mac(
        &self,
        network: PlacedNetwork<'_>,
        sandbox: Option<&Sandbox>,
        request: &Attach,
        id: EndpointId,
        addresses: &[IpNet],
    ) -> Result<MacAddr, Error> {
        let near = |e: &&Endpoint| e.network == network.id || e.is_beside(sandbox);
        let gateway = network.has_gateway().then(|| self.gateway_mac(network.id));
        let owner = |mac| {
            let endpoint = self.endpoints().filter(near).find(|e| e.mac == mac);
            let endpoint = endpoint.map(|e| format!("endpoint {}", e.id));
            let gateway = gateway.filter(|gateway| *gateway == mac);
            let name = |_| format!("the gateway of network `{}`", network.name);
            endpoint.or_else(|| gateway.map(name))
        };
        let Some(mac) = request.mac else {
            return Ok(derive_mac(self.placed.seed, id, addresses, |mac| {
                owner(mac).is_some()
            }));
        };
        match owner(mac) {
            Some(owner) => Err(Error::MacTaken { mac, owner }),
            None => Ok(mac),
        }
    }

    fn taken_addresses(&self, network: NetworkId) -> impl Iterator<Item = IpAddr> + '_ {
        self.endpoints()
            .filter(move |e| e.network == network)
            .flat_map(|e| e.addresses.iter().map(IpNet::addr))
    }

    fn check_address_free(
        &self,
        network: NetworkId,
        sandbox: Option<&Sandbox>,
        address: IpAddr,
        chosen: &[IpNet],
    ) -> Result<(), Error> {
        let taken = |owner: String| Err(Error::AddressTaken { address, owner });
        if chosen.iter().any(|net| net.addr() == address) {
            return taken("that is being made".to_owned());
        }
        let near = |e: &&Endpoint| e.network == network || e.is_beside(sandbox);
        match self
            .endpoints()
            .filter(near)
            .find(|e| e.addresses.iter().any(|net| net.addr() == address))
        {
            Some(owner) => taken(owner.id.to_string()),
            None => Ok(()),
        }
    }
}

/// Refuses an address that an endpoint of the network cannot have.
fn check_address(network: &Network, wanted: IpNet) -> Result<(), Error> {
    let address = wanted.addr();
    let refuse = |why: String| Err(Error::BadAddress { address, why });
    if is_special(address) {
        return refuse("it is a loopback, link-local, multicast or reserved address".to_owned());
    }
    if network.subnets.is_empty() {
        return Ok(());
    }
    let Some(subnet) = network.subnet_of(address) else {
        let subnets_ = network.subnets.iter().map(|s| s.net).collect();
        return Err(Error::NotInSubnet {
            address,
            network: network.name.clone(),
            subnets_,
        });
    };
    subnet.check_host(address)?;
    if wanted.prefix_len() != subnet.net.prefix_len() {
        return refuse(format!(
            "its prefix length is {}, its subnet's is {}",
            wanted.prefix_len(),
            subnet.net.prefix_len()
        ));
    }
    Ok(())
}

/// The gateways asked for, or those of the subnets; one a family. From an internal network no way
/// leads on.
fn choose_gateways(
    network: &Network,
    request: &Attach,
    addresses: &[IpNet],
) -> Result<Vec<IpAddr>, Error> {
    let mut chosen: Vec<IpAddr> = Vec::new();
    let has = |chosen: &[IpAddr], gateway: IpAddr| {
        chosen.iter().any(|g| g.is_ipv4() == gateway.is_ipv4())
    };
    let Some(wanted) = &request.gateways else {
        if network.routing.internal {
            return Ok(chosen);
        }
        let subnets = addresses.iter().filter_map(|a| network.subnet_of(a.addr()));
        for gateway in subnets.filter_map(|s| s.gateway) {
            if !has(&chosen, gateway) {
                chosen.push(gateway);
            }
        }
        return Ok(chosen);
    };
    for &gateway in wanted {
        let refuse = |why| Err(Error::UnreachableGateway { gateway, why });
        if !addresses
            .iter()
            .any(|net| net.contains(&gateway) && net.addr() != gateway)
        {
            return refuse("it is in none of the endpoint's subnets");
        }
        if has(&chosen, gateway) {
            return refuse("there is another of its family");
        }
        chosen.push(gateway);
    }
    Ok(chosen)
}

fn choose_mtu(network: &Network, request: &Attach, addresses: &[IpNet]) -> Result<u16, Error> {
    let most = network.mtu.min(TAP_MTU_MAX);
    let Some(mtu) = request.mtu else {
        return Ok(most);
    };
    let least = if addresses.iter().any(|a| a.addr().is_ipv6()) {
        1280
    } else {
        576
    };
    Invalid::unless_in("mtu", u64::from(mtu), &(least..=u64::from(most)))?;
    Ok(mtu)
}

fn port_of(endpoint: &Endpoint, name: String, request: &Attach) -> Port {
    // Without an address of ours the sandbox finds its own (DHCP, say): the lock then binds its
    // MAC alone.
    let lock = request.locked.then(|| Lock {
        mac: endpoint.mac,
        ips: endpoint.addresses.iter().map(IpNet::addr).collect(),
    });
    let settings = PortSettings {
        vlan: request.vlan.map(|vid| VlanMode::Access { vid }),
        isolated: if request.isolated {
            Isolation::On
        } else {
            Isolation::AsNetwork
        },
        lock,
        rate: request.rate,
        ..PortSettings::default()
    };
    Port {
        id: endpoint.port,
        name,
        kind: PortKind::Endpoint(endpoint.id),
        network: Some(endpoint.network),
        settings,
    }
}
