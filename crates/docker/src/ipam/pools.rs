//! Pools and the addresses given of them: a value, without files and locks.
//!
//! A pool is a tenant's. Two pools of one tenant never overlap, those of two tenants may. Within a
//! pool an address is given to one asker at a time, the lowest that is free first, as Docker's own
//! IPAM does: a container that is started again gets the address it had. IPv4's network and
//! broadcast addresses and IPv6's subnet-router anycast address (RFC 4291 2.6.1) are nobody's.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Refusals of the pools.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    /// The tenant has these addresses in another pool.
    #[error(
        "pool {pool} overlaps with {other} of the same tenant `{tenant}`; --ipam-opt pool=NAME keeps tenants apart"
    )]
    Overlaps {
        /// The pool asked for.
        pool: IpNet,
        /// The one there is.
        other: IpNet,
        /// The tenant that has both.
        tenant: String,
    },
    /// A range outside its pool.
    #[error("range {range} does not lie in pool {pool}")]
    RangeOutside {
        /// The range.
        range: IpNet,
        /// The pool.
        pool: IpNet,
    },
    /// A range of a pool that is not named.
    #[error("range {0} is of no pool; name the subnet as well")]
    RangeAlone(IpNet),
    /// An address space that is not ours.
    #[error("address space `{0}` is not known; allowed are clearway-local and clearway-global")]
    UnknownSpace(String),
    /// A pool of the wrong family.
    #[error("pool {pool} is not of IPv{wanted}")]
    Family {
        /// The pool.
        pool: IpNet,
        /// 4 or 6.
        wanted: u8,
    },
    /// Every pool that could be chosen is taken.
    #[error("all pools of {0} are taken; name a subnet")]
    NoPoolLeft(IpNet),
    /// A pool that nobody requested.
    #[error("pool `{0}` is not known")]
    UnknownPool(String),
    /// An address of somewhere else.
    #[error("address {address} does not lie in pool {pool}")]
    AddressOutside {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: IpNet,
    },
    /// An address nobody may have.
    #[error("address {address} of pool {pool} names the subnet itself or all of its hosts")]
    NotAHost {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: IpNet,
    },
    /// An address somebody has.
    #[error("Address already in use: {address} of pool {pool} was given before")]
    Taken {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: IpNet,
    },
    /// No address is free.
    #[error("all addresses of {0} are given")]
    Full(IpNet),
}

/// A pool asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolRequest {
    /// The address space, one of ours.
    pub(super) space: String,
    /// The tenant that it is for.
    pub(super) tenant: String,
    /// Its addresses; `None` lets us choose.
    pub(super) pool: Option<IpNet>,
    /// Those of them that are given to who names none.
    pub(super) sub_pool: Option<IpNet>,
    /// Whether it is to be of IPv6.
    pub(super) v6: bool,
}

/// The kind of an address's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A container.
    Endpoint,
    /// The gateway, which need not lie in the range for containers.
    Gateway,
}

/// All pools, and what was given of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pools {
    /// The prefix that IPv6 pools are chosen from: made at random once (RFC 4193 3.2).
    local: Ipv6Net,
    pools: BTreeMap<String, Pool>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    space: String,
    tenant: String,
    net: IpNet,
    range: Option<IpNet>,
    given: BTreeSet<IpAddr>,
}

impl Pools {
    /// No pools. `global_id` is the 40 random bits of a unique local prefix.
    pub(super) fn new(global_id: [u8; 5]) -> Self {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..6].copy_from_slice(&global_id);
        Self {
            local: whole_v6(octets.into(), 48),
            pools: BTreeMap::new(),
        }
    }

    /// Takes a pool; answers its id and its addresses.
    pub(super) fn request_pool(
        &mut self,
        request: &PoolRequest,
    ) -> Result<(String, IpNet), PoolError> {
        if !SPACES.contains(&request.space.as_str()) {
            return Err(PoolError::UnknownSpace(request.space.clone()));
        }
        let net = match (request.pool, request.sub_pool) {
            (Some(net), _) => net.trunc(),
            (None, Some(range)) => return Err(PoolError::RangeAlone(range)),
            (None, None) => self.choose(request.v6)?,
        };
        if matches!(net, IpNet::V6(_)) != request.v6 {
            let wanted = if request.v6 { 6 } else { 4 };
            return Err(PoolError::Family { pool: net, wanted });
        }
        let range = request.sub_pool.map(|range| range.trunc());
        if let Some(range) = range.filter(|range| !net.contains(range)) {
            return Err(PoolError::RangeOutside { range, pool: net });
        }
        let beside = |p: &&Pool| p.space == request.space && p.tenant == request.tenant;
        let mut beside = self.pools.values().filter(beside);
        if let Some(other) = beside.find(|p| overlap(p.net, net)) {
            return Err(PoolError::Overlaps {
                pool: net,
                other: other.net,
                tenant: request.tenant.clone(),
            });
        }
        let id = format!("{}/{}/{net}", request.space, request.tenant);
        let pool = Pool {
            space: request.space.clone(),
            tenant: request.tenant.clone(),
            net,
            range,
            given: BTreeSet::new(),
        };
        self.pools.insert(id.clone(), pool);
        Ok((id, net))
    }

    /// Gives a pool back with all its addresses.
    pub(super) fn release_pool(&mut self, id: &str) {
        self.pools.remove(id);
    }

    /// Takes an address: `wanted`, or the next free one. It has its pool's prefix length.
    pub(super) fn request_address(
        &mut self,
        id: &str,
        wanted: Option<IpAddr>,
        kind: Kind,
    ) -> Result<IpNet, PoolError> {
        let pool = self.pools.get_mut(id);
        let pool = pool.ok_or_else(|| PoolError::UnknownPool(id.to_owned()))?;
        let address = match wanted {
            Some(address) => pool.check(address)?,
            None => pool.next(kind)?,
        };
        pool.given.insert(address);
        Ok(with_prefix_of(pool.net, address))
    }

    /// Gives an address back.
    pub(super) fn release_address(&mut self, id: &str, address: Option<IpAddr>) {
        if let (Some(pool), Some(address)) = (self.pools.get_mut(id), address) {
            pool.given.remove(&address);
        }
    }

    /// The first pool of ours that overlaps with nobody's, whatever the tenant: who names no
    /// addresses does not want another's.
    fn choose(&self, v6: bool) -> Result<IpNet, PoolError> {
        let free = |net: &IpNet| !self.pools.values().any(|p| overlap(p.net, *net));
        let (all, length) = if v6 {
            (IpNet::V6(self.local), 64)
        } else {
            (IpNet::V4(OURS_V4), 24)
        };
        let mut subnets = all.subnets(length).into_iter().flatten();
        subnets.find(free).ok_or(PoolError::NoPoolLeft(all))
    }
}

impl Pool {
    /// `address`, if it can be given.
    fn check(&self, address: IpAddr) -> Result<IpAddr, PoolError> {
        let pool = self.net;
        if !pool.contains(&address) {
            return Err(PoolError::AddressOutside { address, pool });
        }
        if !is_host(pool, address) {
            return Err(PoolError::NotAHost { address, pool });
        }
        if self.given.contains(&address) {
            return Err(PoolError::Taken { address, pool });
        }
        Ok(address)
    }

    /// The lowest address that can be given.
    fn next(&self, kind: Kind) -> Result<IpAddr, PoolError> {
        let among = match kind {
            Kind::Endpoint => self.range.unwrap_or(self.net),
            Kind::Gateway => self.net,
        };
        let given = self.given.range(among.network()..=among.broadcast());
        let mut candidate = Some(among.network());
        // The given ones are in order, so the first one that is not the candidate leaves a gap.
        for &given in given {
            candidate = candidate
                .map(|c| self.to_host(c))
                .and_then(|c| if c == given { after(c) } else { Some(c) });
        }
        let found = candidate.map(|c| self.to_host(c));
        found
            .filter(|c| among.contains(c) && self.check(*c).is_ok())
            .ok_or(PoolError::Full(among))
    }

    /// `address`, or the one after it if that names the subnet.
    fn to_host(&self, address: IpAddr) -> IpAddr {
        if address == self.net.network() && !is_host(self.net, address) {
            after(address).unwrap_or(address)
        } else {
            address
        }
    }
}

/// Returns whether an address of a subnet is a host's.
fn is_host(net: IpNet, address: IpAddr) -> bool {
    match net {
        // RFC 3021: a subnet of two has no such addresses.
        IpNet::V4(v4) => {
            v4.prefix_len() >= 31 || (address != v4.network() && address != v4.broadcast())
        }
        IpNet::V6(v6) => v6.prefix_len() >= 127 || address != v6.network(),
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_add(1)
            .map(|n| Ipv4Addr::from_bits(n).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_add(1)
            .map(|n| Ipv6Addr::from_bits(n).into()),
    }
}

fn with_prefix_of(net: IpNet, address: IpAddr) -> IpNet {
    IpNet::new(address, net.prefix_len()).unwrap_or_else(|_| address.into())
}

/// Two ranges of whole prefixes overlap exactly when one holds the other.
fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// The address spaces: none has a slash, so pools' ids differ.
pub(crate) const SPACES: [&str; 2] = ["clearway-local", "clearway-global"];

/// The range that IPv4 pools are chosen from.
const OURS_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 128, 0, 0), 9);

fn whole_v6(address: Ipv6Addr, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(address, length).trunc()
}

#[cfg(test)]
mod tests;
