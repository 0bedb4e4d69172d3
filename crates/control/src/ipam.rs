//! Which address is free, and which MAC address goes with it.
//!
//! The lowest free address is given: what is in use can be read off the list of endpoints, and a
//! test's containers are always the same. An address that was just released is given again at
//! once; its new owner has the MAC address derived from it, which is the old owner's, so nobody's
//! stale ARP entry points anywhere else.

use crate::Error;
use crate::desired::{Network, Subnet};
use crate::hash::hashed_mac;
use crate::model::EndpointId;
use ipnet::IpNet;
use model::AddressRange;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::MacAddr;

impl Subnet {
    /// The lowest address a host can have there: a gateway's, unless another was asked for.
    #[must_use]
    pub fn first_host(&self) -> IpAddr {
        self.hosts().0
    }

    /// The addresses an endpoint can have, first and last, all those between included.
    pub(crate) fn hosts(&self) -> (IpAddr, IpAddr) {
        match self.net {
            IpNet::V4(net) => (
                Ipv4Addr::from_bits(net.network().to_bits() + 1).into(),
                Ipv4Addr::from_bits(net.broadcast().to_bits() - 1).into(),
            ),
            // The all-zeros host is the routers' anycast address (RFC 4291 2.6.1); there is no
            // broadcast address.
            IpNet::V6(net) => (
                Ipv6Addr::from_bits(net.network().to_bits() + 1).into(),
                net.broadcast().into(),
            ),
        }
    }

    /// The address kept for a router: the gateway, or the first one where none is set.
    pub(crate) fn reserved(&self) -> IpAddr {
        self.gateway.unwrap_or_else(|| self.hosts().0)
    }

    /// Refuses an address of the subnet that no endpoint can have.
    pub(crate) fn check_host(&self, address: IpAddr) -> Result<(), Error> {
        let (first, last) = self.hosts();
        let refuse = |why: String| Err(Error::BadAddress { address, why });
        if self.gateway == Some(address) {
            return refuse(format!("it is the gateway of {}", self.net));
        }
        if address < first || address > last {
            return refuse(format!("endpoints of {} have {first} to {last}", self.net));
        }
        Ok(())
    }

    /// The lowest address that is neither taken nor reserved. A reserved range takes one step,
    /// however many addresses it has.
    pub(crate) fn lowest_free(
        &self,
        taken: &BTreeSet<IpAddr>,
        reserved: &[AddressRange],
    ) -> Option<IpAddr> {
        let (first, last) = self.hosts();
        let mut next = Some(first);
        while let Some(address) = next.filter(|&a| a <= last) {
            let range = reserved.iter().find(|range| range.contains(address));
            if range.is_none() && address != self.reserved() && !taken.contains(&address) {
                return Some(address);
            }
            next = successor(range.map_or(address, AddressRange::last));
        }
        None
    }
}

impl Network {
    /// The subnet that `address` is in.
    #[must_use]
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|s| s.net.contains(&address))
    }
}

/// The MAC address of the endpoint `id`: Docker's `02:42` before the IPv4 address where there is
/// one, else a hash. All are locally administered. The first that `taken` does not know is given.
pub(crate) fn derive_mac(
    seed: u64,
    id: EndpointId,
    addresses: &[IpNet],
    taken: impl Fn(MacAddr) -> bool,
) -> MacAddr {
    let from_ipv4 = addresses.iter().find_map(|net| match net.addr() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            Some(MacAddr([0x02, 0x42, a, b, c, d]))
        }
        IpAddr::V6(_) => None,
    });
    let hashed = (0..).map(|attempt| hashed_mac(seed, (u64::from(id.0) << 32) | attempt));
    from_ipv4
        .into_iter()
        .chain(hashed)
        .find(|&mac| !taken(mac))
        .expect("2^46 hashed addresses are not all taken")
}

fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(net: &str, gateway: Option<&str>) -> Subnet {
        Subnet {
            net: net.parse().unwrap(),
            gateway: gateway.map(|g| g.parse().unwrap()),
        }
    }

    #[test]
    fn the_first_address_is_kept_for_a_router() {
        let none = BTreeSet::new();
        let lowest = |s: Subnet| s.lowest_free(&none, &[]).unwrap().to_string();
        assert_eq!(lowest(subnet("10.1.0.0/24", None)), "10.1.0.2");
        assert_eq!(lowest(subnet("10.1.0.0/24", Some("10.1.0.1"))), "10.1.0.2");
        assert_eq!(
            lowest(subnet("10.1.0.0/24", Some("10.1.0.254"))),
            "10.1.0.1"
        );
        assert_eq!(lowest(subnet("2001:db8::/64", None)), "2001:db8::2");
    }

    #[test]
    fn a_subnet_runs_full_without_giving_network_or_broadcast() {
        let subnet = subnet("10.1.0.0/29", None);
        let mut taken = BTreeSet::new();
        while let Some(address) = subnet.lowest_free(&taken, &[]) {
            assert!(subnet.check_host(address).is_ok());
            taken.insert(address);
        }
        let given: Vec<_> = taken.iter().map(IpAddr::to_string).collect();
        assert_eq!(
            given,
            ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]
        );
    }

    #[test]
    fn the_end_of_the_address_space_is_an_end() {
        let subnet = subnet("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", None);
        let taken = (2..=3)
            .map(|n| Ipv6Addr::from_bits(u128::MAX - 3 + n).into())
            .collect();
        assert_eq!(subnet.lowest_free(&taken, &[]), None);
    }

    #[test]
    fn a_reserved_range_is_left_out_at_once() {
        let range = |first: &str, last: &str| {
            AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
        };
        let v4 = subnet("10.1.0.0/24", None);
        let all = BTreeSet::new();
        let reserved = [
            range("10.1.0.2", "10.1.0.9"),
            range("10.1.0.10", "10.1.0.10"),
        ];
        assert_eq!(
            v4.lowest_free(&all, &reserved).unwrap().to_string(),
            "10.1.0.11"
        );
        assert_eq!(
            v4.lowest_free(&all, &[range("10.1.0.0", "10.1.0.255")]),
            None
        );
        // 2^63 addresses are not looked at one by one.
        let half = range("2001:db8::", "2001:db8::7fff:ffff:ffff:ffff");
        assert_eq!(
            subnet("2001:db8::/64", None)
                .lowest_free(&all, &[half])
                .unwrap()
                .to_string(),
            "2001:db8:0:0:8000::"
        );
    }

    #[test]
    fn macs_come_from_the_ipv4_address_else_from_a_hash() {
        let id = EndpointId(7);
        let v4 = [
            "2001:db8::2/64".parse().unwrap(),
            "10.1.2.3/24".parse().unwrap(),
        ];
        let v6 = &v4[..1];
        assert_eq!(
            derive_mac(1, id, &v4, |_| false),
            MacAddr([2, 0x42, 10, 1, 2, 3])
        );
        let hashed = derive_mac(1, id, v6, |_| false);
        assert_eq!(hashed, derive_mac(1, id, v6, |_| false));
        assert_ne!(hashed, derive_mac(2, id, v6, |_| false));
        assert_ne!(hashed, derive_mac(1, id, v6, |mac| mac == hashed));
        assert!(hashed.is_valid_source() && hashed.0[0] & 2 == 2);
    }
}
