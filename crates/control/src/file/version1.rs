//! From version 1 to version 2: the nouns that users name stand in the file as they do in the HTTP
//! interface.
//!
//! A value of a wrong form is left as it is, and refused when the state is made of it.

use serde_json::{Map, Value, json};

/// Turns a state of version 1 into one of version 2.
pub(super) fn upgrade(state: &mut Value) {
    for network in records(state, "networks") {
        if let Some(routing) = network.get_mut("routing").and_then(Value::as_object_mut) {
            rename(routing, "prefix", "nptv6", |prefix| {
                if prefix.is_null() {
                    return json!("none");
                }
                json!({ "prefix": prefix })
            });
        }
    }
    for port in records(state, "ports") {
        let own = port
            .get("kind")
            .filter(|kind| kind.get("endpoint").is_none());
        if let Some(kind) = own.and_then(port_kind) {
            port.insert("kind".to_owned(), kind);
        }
    }
}

/// A kind stands as it was asked for, and beside it the identity of the namespace that it names.
fn port_kind(kind: &Value) -> Option<Value> {
    let (label, old) = kind.as_object()?.iter().next()?;
    let of_sandbox = |key| old.get("sandbox").and_then(|sandbox| sandbox.get(key));
    let [netns, identity] = ["namespace", "identity"].map(|key| of_sandbox(key).cloned());
    let mut kind = json!({ "type": label });
    let fields = kind.as_object_mut()?;
    for (key, value) in old.as_object()? {
        let (key, value) = match (label.as_str(), key.as_str()) {
            (_, "sandbox") => ("netns", json!(netns)),
            ("packet", "ifname") => ("interface", value.clone()),
            (_, "paced") => {
                let speed = if value == &json!(true) {
                    "recorded"
                } else {
                    "full"
                };
                ("speed", json!(speed))
            }
            (_, key) => (key, value.clone()),
        };
        fields.insert(key.to_owned(), value);
    }
    Some(json!({ "own": { "kind": kind, "identity": identity } }))
}

/// The records of a table.
fn records<'a>(
    state: &'a mut Value,
    table: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let table = state.get_mut(table).and_then(Value::as_array_mut);
    table.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Gives a key another name, and its value another form.
fn rename(
    record: &mut Map<String, Value>,
    old: &str,
    new: &str,
    form: impl FnOnce(Value) -> Value,
) {
    if let Some(value) = record.remove(old) {
        record.insert(new.to_owned(), form(value));
    }
}
