//! Networks.

use super::messages::{
    AllocateNetwork, CreateNetwork, GatewaysWanted, GwAllocCheck, IpamData, NetworkRef,
};
use super::{Driver, has};
use crate::error::{Refusal, gone, refused_with};
use crate::ipam::SPACES;
use crate::labels;
use crate::options::{GatewayMode, NetworkDraft};
use api::{AddressRange, Detach, ErrorCode, Masquerade, Name, NetworkCreate};
use std::net::IpAddr;

impl Driver {
    /// Returns which families get no gateway address.
    pub(crate) fn gateways_wanted(
        &self,
        request: &GwAllocCheck,
    ) -> Result<GatewaysWanted, Refusal> {
        let mut draft = NetworkDraft::from(NetworkCreate::new(name_of("check")?));
        draft.apply(&request.options.generic)?;
        Ok(GatewaysWanted {
            skip_ipv4: draft.mode_ipv4 == GatewayMode::Isolated,
            skip_ipv6: draft.mode_ipv6 == GatewayMode::Isolated,
        })
    }

    /// Returns what a swarm's manager is told: its options, as they came.
    #[expect(clippy::unused_self, reason = "the calls have one shape")]
    pub(crate) fn allocate_network(&self, request: AllocateNetwork) -> AllocateNetwork {
        request
    }

    /// Makes a network; content when this very request made it before.
    pub(crate) fn create_network(
        &self,
        request: &CreateNetwork,
        fingerprint: &str,
    ) -> Result<(), Refusal> {
        let id = &request.network_id;
        if let Some(old) = self.find_network(id)? {
            if has(&old.spec.labels, labels::REQUEST, fingerprint) {
                return Ok(());
            }
            return Err(Refusal::Differs {
                what: "network",
                id: id.clone(),
            });
        }
        let mut network = network_of(request)?;
        let labels = &mut network.labels;
        labels.insert(labels::NETWORK_ID.to_owned(), id.clone());
        labels.insert(labels::REQUEST.to_owned(), fingerprint.to_owned());
        self.make(network, is_ours(request))?;
        self.changed.notify_one();
        Ok(())
    }

    /// Makes a network. A tenant of our own IPAM may have another tenant's addresses: the network is
    /// then one that overlaps, which costs it the host's way in, so it is tried without.
    fn make(&self, network: NetworkCreate, ours: bool) -> Result<(), Refusal> {
        let Err(error) = self.client.network_create(&network) else {
            return Ok(());
        };
        if !ours || refused_with(&error, ErrorCode::AlreadyExists).is_none() {
            return Err(error.into());
        }
        self.client.network_create(&NetworkCreate {
            overlapping: true,
            ..network
        })?;
        Ok(())
    }

    /// Removes a network; content when there is none. dockerd does so only when nobody is in it, so
    /// endpoints that are still there are those it forgot.
    pub(crate) fn delete_network(&self, request: &NetworkRef) -> Result<(), Refusal> {
        let removed = self.with_network(&request.network_id, |network| {
            let endpoints = self.client.endpoints()?.into_iter();
            let forgotten = endpoints
                .filter(|e| e.network == network.spec.name)
                .filter(|e| e.labels.contains_key(labels::ENDPOINT_ID));
            for endpoint in forgotten {
                gone(self.client.detach(&Detach::Endpoint(endpoint.id)))?;
            }
            self.client.network_remove(&network.spec.name)
        });
        removed.map(|_| ())
    }
}

/// Returns what Docker asks for, without the labels that tell whose it is.
fn network_of(request: &CreateNetwork) -> Result<NetworkCreate, Refusal> {
    let mut draft = NetworkDraft::from(NetworkCreate::new(name_of(&request.network_id)?));
    draft.apply(&request.options.generic)?;
    let ipv4 = request.options.enable_ipv4.then_some(&request.ipv4_data);
    let ipv4 = real(ipv4.map_or(&[], Vec::as_slice));
    let ipv6 = real(&request.ipv6_data);
    let internal = request.options.internal;
    let families = [(draft.mode_ipv4, &ipv4), (draft.mode_ipv6, &ipv6)];
    let is_isolated =
        |(mode, subnets): &(_, &Vec<_>)| *mode == GatewayMode::Isolated && !subnets.is_empty();
    if families.iter().any(is_isolated) && !internal {
        return Err(Refusal::NotInternal);
    }
    // An IP version that is not there is as the other.
    let mode = |own: usize| {
        let (mode, subnets) = &families[own];
        if subnets.is_empty() {
            families[1 - own].0
        } else {
            *mode
        }
    };
    let masquerade = masquerade(draft.network.routing.masquerade, mode(0), mode(1));

    let mut network = draft.network;
    let mut gateways: Vec<IpAddr> = Vec::new();
    for (mode, subnets) in families {
        network
            .subnets
            .extend(subnets.iter().map(|s| s.pool.trunc()));
        if mode != GatewayMode::Isolated {
            gateways.extend(subnets.iter().filter_map(|s| s.gateway).map(|g| g.addr()));
        }
        let aux = subnets.iter().flat_map(|s| s.aux_addresses.values());
        let one = |address: IpAddr| AddressRange::new(address, address);
        network
            .reserved
            .extend(aux.filter_map(|net| one(net.addr())));
    }
    network.gateways = Some(gateways);
    // Docker has compared the subnet with the host's routes already, where it chose it.
    network.allow_overlap = true;
    network.routing.internal = internal;
    network.routing.masquerade = masquerade;
    network.check()?;
    Ok(network)
}

/// Returns whether the pools were given by our own IPAM driver.
fn is_ours(request: &CreateNetwork) -> bool {
    let mut all = request.ipv4_data.iter().chain(&request.ipv6_data);
    all.any(|data| SPACES.contains(&data.address_space.as_str()))
}

/// The subnets that are some: without an IPAM (`--ipam-driver null`) Docker names 0.0.0.0/0.
fn real(data: &[IpamData]) -> Vec<&IpamData> {
    data.iter().filter(|d| d.pool.prefix_len() != 0).collect()
}

/// Returns which packets leave with the uplink's address: not those whose gateway routes.
fn masquerade(wanted: Masquerade, v4: GatewayMode, v6: GatewayMode) -> Masquerade {
    let nat = |mode, own| mode != GatewayMode::Routed && [own, Masquerade::On].contains(&wanted);
    match (nat(v4, Masquerade::Ipv4), nat(v6, Masquerade::Ipv6)) {
        (false, false) => Masquerade::Off,
        (true, false) => Masquerade::Ipv4,
        (false, true) => Masquerade::Ipv6,
        (true, true) => Masquerade::On,
    }
}

/// Returns what a network is called until Docker tells its name.
pub(super) fn name_of(id: &str) -> Result<Name, Refusal> {
    let short = id.get(..12).unwrap_or(id);
    let bad = |why: &dyn ToString| Refusal::BadId {
        id: id.to_owned(),
        why: why.to_string(),
    };
    if short.is_empty() {
        return Err(bad(&"it is empty"));
    }
    format!("docker-{short}")
        .parse()
        .map_err(|error: api::Invalid| bad(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn network(request: Value) -> Result<NetworkCreate, String> {
        let request = serde_json::from_value(request).map_err(|error| error.to_string())?;
        network_of(&request).map_err(|error| error.to_string())
    }

    fn dual(options: &Value) -> Result<NetworkCreate, String> {
        network(json!({
            "NetworkID": "c6cb823ac930eb2f4539", "Options": options,
            "IPv4Data": [{"AddressSpace": "LocalDefault",
                "AuxAddresses": {"host1": "10.52.0.200/24"},
                "Gateway": "10.52.0.254/24", "Pool": "10.52.0.0/24"}],
            "IPv6Data": [{"AddressSpace": "LocalDefault",
                "Gateway": "fd50::99/64", "Pool": "fd50::/64"}]
        }))
    }

    fn modes(v4: &str, v6: &str, internal: bool) -> Result<NetworkCreate, String> {
        dual(&json!({
            "com.docker.network.internal": internal,
            "com.docker.network.generic": {
                "com.docker.network.bridge.gateway_mode_ipv4": v4,
                "com.docker.network.bridge.gateway_mode_ipv6": v6,
            }
        }))
    }

    #[test]
    fn subnets_gateways_and_auxiliary_addresses_are_taken_over() {
        let network = dual(&json!({"com.docker.network.enable_ipv6": true})).unwrap();
        assert_eq!(network.name.as_str(), "docker-c6cb823ac930");
        let nets: Vec<_> = network.subnets.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["10.52.0.0/24", "fd50::/64"]);
        let gateways: [IpAddr; 2] = ["10.52.0.254".parse().unwrap(), "fd50::99".parse().unwrap()];
        assert_eq!(network.gateways.as_deref(), Some(&gateways[..]));
        assert_eq!(network.reserved, ["10.52.0.200".parse().unwrap()]);
        assert!(network.allow_overlap);
        assert_eq!(network.routing.masquerade, Masquerade::On);
        assert!(!network.routing.internal);
    }

    #[test]
    fn without_an_ipam_there_is_no_subnet() {
        let network = network(json!({
            "NetworkID": "cbfv88mh5mvm9dsaqtiui4xzp",
            "Options": {"com.docker.network.internal": true},
            "IPv4Data": [{"AddressSpace": "null", "Pool": "0.0.0.0/0"}], "IPv6Data": null
        }))
        .unwrap();
        assert_eq!(network.subnets, []);
        assert_eq!(network.gateways, Some(Vec::new()));
        assert!(network.routing.internal);
    }

    #[test]
    fn a_network_without_ipv4_has_none() {
        let network = dual(&json!({"com.docker.network.enable_ipv4": false})).unwrap();
        assert_eq!(network.subnets, ["fd50::/64".parse().unwrap()]);
        assert_eq!(network.reserved, []);
    }

    #[test]
    fn each_ip_version_has_its_gateway_mode() {
        let masquerade = |v4, v6| modes(v4, v6, false).unwrap().routing.masquerade;
        assert_eq!(masquerade("nat", "nat"), Masquerade::On);
        assert_eq!(masquerade("routed", "routed"), Masquerade::Off);
        assert_eq!(masquerade("nat", "routed"), Masquerade::Ipv4);
        assert_eq!(masquerade("routed", "nat"), Masquerade::Ipv6);
        assert!(
            modes("isolated", "isolated", false)
                .unwrap_err()
                .contains("say --internal")
        );
        let isolated = modes("isolated", "nat", true).unwrap();
        assert_eq!(isolated.gateways, Some(vec!["fd50::99".parse().unwrap()]));
    }

    #[test]
    fn what_cannot_be_says_why() {
        let small = dual(&json!({"com.docker.network.generic": {"clearway.mtu": "1000"}}));
        assert!(small.unwrap_err().contains("needs 1280 to 65535"));
        let wrong = network(json!({"NetworkID": "", "IPv4Data": []}));
        assert_eq!(
            wrong.unwrap_err(),
            "Docker's id `` does not do: it is empty"
        );
        let wrong = network(json!({"NetworkID": "a/b", "IPv4Data": []}));
        assert!(wrong.unwrap_err().contains("`docker-a/b` is not a name"));
        let wrong = network(json!({"NetworkID": "ä".repeat(20)}));
        assert!(wrong.unwrap_err().contains("is not a name"));
        let wrong = network(json!({"NetworkID": "a", "IPv4Data": [{"Pool": "x"}]}));
        assert!(wrong.is_err());
    }
}
