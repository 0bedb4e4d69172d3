//! From version 2 to version 3: what is wanted stands apart from what this host gave to it.
//!
//! A network had its dense id, and its place in the same record. Its uuid is made of that id, so a
//! snapshot and the changes that follow it speak of the same network.
//!
//! A value of a wrong form is left as it is, and refused when the state is made of it.

use crate::desired::network_uuid;
use crate::placed::FIRST_NUMBER;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Turns a state of version 2 into one of version 3.
pub(super) fn upgrade(state: &mut Value) {
    let Some(placed) = state.as_object_mut() else {
        return;
    };
    let seed = placed.get("seed").and_then(Value::as_u64);
    let networks = placed.get_mut("networks").and_then(Value::as_array_mut);
    let (Some(seed), Some(networks)) = (seed, networks) else {
        return;
    };
    let (wanted, places): (Vec<_>, Vec<_>) = networks
        .drain(..)
        .map(|network| split(network, seed))
        .unzip();
    *networks = places;
    placed.insert("next_network".to_owned(), json!(FIRST_NUMBER));
    let placed = std::mem::take(placed);
    *state = json!({ "desired": { "networks": wanted }, "placed": placed });
}

/// Turns a change of version 2 into one of version 3, for the host with `seed`.
pub(super) fn upgrade_change(change: &mut Value, seed: u64) {
    if let Some(changes) = change.get_mut("all").and_then(Value::as_array_mut) {
        changes
            .iter_mut()
            .for_each(|change| upgrade_change(change, seed));
    } else if let Some(network) = change.get_mut("put_network") {
        let (network, place) = split(network.take(), seed);
        let put = json!({ "desire": { "put_network": network } });
        *change = json!({ "all": [put, { "put_place": place }] });
    } else if let Some(id) = change.get("drop_network") {
        let drop = json!({ "desire": { "drop_network": uuid(id, seed) } });
        *change = json!({ "all": [{ "drop_place": id }, drop] });
    }
}

/// Splits a network into what is wanted and its place.
fn split(network: Value, seed: u64) -> (Value, Value) {
    let Value::Object(mut network) = network else {
        return (network, Value::Null);
    };
    let id = network.remove("id").unwrap_or_default();
    let mut place = Map::new();
    place.insert("network".to_owned(), json!(uuid(&id, seed)));
    for key in ["bridge", "statics"] {
        place.extend(network.remove(key).map(|value| (key.to_owned(), value)));
    }
    network.insert("uuid".to_owned(), json!(uuid(&id, seed)));
    place.insert("number".to_owned(), id.clone());
    place.insert("id".to_owned(), id);
    (Value::Object(network), Value::Object(place))
}

/// Returns the uuid of the network that had the id `id`; none for what is no id.
fn uuid(id: &Value, seed: u64) -> Option<Uuid> {
    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
    id.map(|id| network_uuid(seed, id))
}
