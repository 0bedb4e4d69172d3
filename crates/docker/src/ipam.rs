//! The IPAM driver: pools of addresses for networks made with `--ipam-driver`.
//!
//! Docker's own IPAM will do for most networks. This one lets the networks of several tenants have
//! the same addresses (`--ipam-opt pool=blue`), and chooses its own where none are named.
//!
//! What was given is remembered in a file before it is told: [`pools`] is a value, a call changes a
//! copy of it, and the copy becomes the state when [`store`] has it on the disk. A lock is held
//! meanwhile, so calls are answered one after the other.

mod messages;
mod pools;
mod store;

pub(crate) use pools::{PoolError, SPACES};

use crate::error::{Error, Refusal};
use messages::{
    Address, AddressSpaces, Pool, ReleaseAddress, ReleasePool, RequestAddress, RequestPool,
};
use pools::{Kind, PoolRequest, Pools};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use store::Store;

/// Answers for addresses. Every call blocks.
#[derive(Debug)]
pub(crate) struct Ipam {
    pools: Mutex<Pools>,
    store: Store,
}

impl Ipam {
    /// Takes up what was given before, from a file in `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let (store, pools) = Store::open(directory)?;
        Ok(Self {
            pools: Mutex::new(pools),
            store,
        })
    }

    /// Returns where pools lie when nothing is said.
    #[expect(clippy::unused_self, reason = "the calls have one shape")]
    pub(crate) fn address_spaces(&self) -> AddressSpaces {
        AddressSpaces::OURS
    }

    /// Takes a pool for a network.
    pub(crate) fn request_pool(&self, request: &RequestPool) -> Result<Pool, Refusal> {
        let wanted = PoolRequest {
            space: request.address_space.clone(),
            tenant: request.tenant()?,
            pool: request.pool,
            sub_pool: request.sub_pool,
            v6: request.v6,
        };
        let (pool_id, pool) = self.change(|pools| pools.request_pool(&wanted))?;
        Ok(Pool {
            pool_id,
            pool,
            data: messages::NO_DATA,
        })
    }

    /// Gives a pool back with all its addresses; content when there is none.
    pub(crate) fn release_pool(&self, request: &ReleasePool) -> Result<(), Refusal> {
        self.change(|pools| {
            pools.release_pool(&request.pool_id);
            Ok(())
        })
    }

    /// Takes an address of a pool.
    pub(crate) fn request_address(&self, request: &RequestAddress) -> Result<Address, Refusal> {
        let kind = if request.is_for_a_gateway() {
            Kind::Gateway
        } else {
            Kind::Endpoint
        };
        let address =
            self.change(|pools| pools.request_address(&request.pool_id, request.address, kind))?;
        Ok(Address {
            address,
            data: messages::NO_DATA,
        })
    }

    /// Gives an address back; content when nobody has it.
    pub(crate) fn release_address(&self, request: &ReleaseAddress) -> Result<(), Refusal> {
        self.change(|pools| {
            pools.release_address(&request.pool_id, request.address);
            Ok(())
        })
    }

    /// Changes a copy, has it written, and keeps it: what cannot be written did not happen.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Pools) -> Result<T, PoolError>,
    ) -> Result<T, Refusal> {
        // A call that panicked changed its copy only.
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = pools.clone();
        let answer = change(&mut next)?;
        if next != *pools {
            self.store.write(&next)?;
            *pools = next;
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};
    use std::fs;

    fn pool(ipam: &Ipam, request: Value) -> Result<Pool, Refusal> {
        ipam.request_pool(&from_value(request).unwrap())
    }

    fn address(ipam: &Ipam, request: Value) -> Result<String, String> {
        let request = from_value(request).unwrap();
        let given = ipam.request_address(&request);
        given
            .map(|given| given.address.to_string())
            .map_err(|error| error.to_string())
    }

    fn blue() -> Value {
        json!({
            "AddressSpace": "clearway-local", "Pool": "10.70.0.0/24",
            "SubPool": "10.70.0.128/25", "Options": {"pool": "blue"}, "V6": false
        })
    }

    #[test]
    fn what_was_given_is_known_to_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let ipam = Ipam::open(dir.path()).unwrap();
        let id = pool(&ipam, blue()).unwrap().pool_id;
        let ask = || json!({"PoolID": id, "Address": "", "Options": null});
        assert_eq!(address(&ipam, ask()).unwrap(), "10.70.0.128/24");
        drop(ipam);
        let ipam = Ipam::open(dir.path()).unwrap();
        assert_eq!(address(&ipam, ask()).unwrap(), "10.70.0.129/24");
        let release = json!({"PoolID": id, "Address": "10.70.0.128"});
        ipam.release_address(&from_value(release).unwrap()).unwrap();
        assert_eq!(address(&ipam, ask()).unwrap(), "10.70.0.128/24");
    }

    #[test]
    fn what_cannot_be_remembered_is_not_given() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let ipam = Ipam::open(&state).unwrap();
        let id = pool(&ipam, blue()).unwrap().pool_id;
        let ask = || json!({"PoolID": id, "Address": "10.70.0.9"});
        fs::remove_dir_all(&state).unwrap();
        let error = address(&ipam, ask()).unwrap_err();
        assert!(
            error.starts_with("cannot remember the change in "),
            "{error}"
        );
        fs::create_dir(&state).unwrap();
        assert_eq!(address(&ipam, ask()).unwrap(), "10.70.0.9/24");
    }

    #[test]
    fn docker_asks_for_gateways_by_a_word_and_options_have_names() {
        let dir = tempfile::tempdir().unwrap();
        let ipam = Ipam::open(dir.path()).unwrap();
        let id = pool(&ipam, blue()).unwrap().pool_id;
        let gateway = json!({"PoolID": id, "Address": "", "Options":
            {"RequestAddressType": "com.docker.network.gateway"}});
        assert_eq!(address(&ipam, gateway).unwrap(), "10.70.0.1/24");
        let container = json!({"PoolID": id, "Address": "", "Options":
            {"com.docker.network.endpoint.macaddress": "02:42:44:97:30:9e"}});
        assert_eq!(address(&ipam, container).unwrap(), "10.70.0.128/24");
        let mut wrong = blue();
        wrong["Options"] = json!({"tenant": "blue"});
        assert_eq!(
            pool(&ipam, wrong).unwrap_err().to_string(),
            "option tenant: is unknown, its value is `blue`; allowed is pool, the name of a tenant"
        );
        let same = pool(&ipam, blue()).unwrap_err().to_string();
        assert!(same.contains("overlaps"), "{same}");
        let unknown = json!({"PoolID": "x", "Address": "10.70.0.9"});
        assert!(
            address(&ipam, unknown.clone())
                .unwrap_err()
                .contains("pool `x`")
        );
        ipam.release_address(&from_value(unknown.clone()).unwrap())
            .unwrap();
        ipam.release_pool(&from_value(unknown).unwrap()).unwrap();
        ipam.release_pool(&from_value(json!({"PoolID": id})).unwrap())
            .unwrap();
        pool(&ipam, blue()).unwrap();
    }
}
