//! Every method dockerd may call: the one list, from a path to a function.

use crate::Plugin;
use crate::error::Refusal;
use crate::fingerprint::fingerprint;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Answers one method. Blocks.
pub(crate) type Call = fn(&Plugin, &[u8]) -> Result<Value, Refusal>;

/// The function of a path.
pub(crate) fn named(path: &str) -> Option<Call> {
    let found = CALLS.iter().find(|(own, _)| *own == path);
    found.map(|(_, call)| *call)
}

/// Moby's `plugins/plugins.go`, `libnetwork/drivers/remote/api` and `libnetwork/ipams/remote/api`.
const CALLS: &[(&str, Call)] = &[
    ("/Plugin.Activate", |_, _| {
        Ok(json!({ "Implements": ["NetworkDriver", "IpamDriver"] }))
    }),
    ("/NetworkDriver.GetCapabilities", |_, _| {
        Ok(json!({ "Scope": "local", "ConnectivityScope": "local", "GwAllocChecker": true }))
    }),
    ("/NetworkDriver.GwAllocCheck", |plugin, body| {
        shown(&plugin.driver.gateways_wanted(&read(body)?)?)
    }),
    // Swarm's manager asks a managed plugin; what it answers comes back as CreateNetwork's options.
    ("/NetworkDriver.AllocateNetwork", |plugin, body| {
        shown(&plugin.driver.allocate_network(read(body)?))
    }),
    ("/NetworkDriver.FreeNetwork", nothing),
    ("/NetworkDriver.CreateNetwork", |plugin, body| {
        plugin
            .driver
            .create_network(&read(body)?, &fingerprint(body))
            .map(done)
    }),
    ("/NetworkDriver.DeleteNetwork", |plugin, body| {
        plugin.driver.delete_network(&read(body)?).map(done)
    }),
    ("/NetworkDriver.CreateEndpoint", |plugin, body| {
        shown(
            &plugin
                .driver
                .create_endpoint(&read(body)?, &fingerprint(body))?,
        )
    }),
    ("/NetworkDriver.DeleteEndpoint", |plugin, body| {
        plugin.driver.delete_endpoint(&read(body)?).map(done)
    }),
    ("/NetworkDriver.EndpointOperInfo", |plugin, body| {
        plugin.driver.endpoint_info(&read(body)?)?;
        // dockerd takes ports from here for its own drivers only.
        Ok(json!({ "Value": {} }))
    }),
    ("/NetworkDriver.Join", |plugin, body| {
        shown(&plugin.driver.join(&read(body)?)?)
    }),
    ("/NetworkDriver.Leave", |plugin, body| {
        plugin.driver.leave(&read(body)?).map(done)
    }),
    (
        "/NetworkDriver.ProgramExternalConnectivity",
        |plugin, body| plugin.driver.program(&read(body)?).map(done),
    ),
    (
        "/NetworkDriver.RevokeExternalConnectivity",
        |plugin, body| plugin.driver.revoke(&read(body)?).map(done),
    ),
    // Other nodes of a swarm: scope is local.
    ("/NetworkDriver.DiscoverNew", nothing),
    ("/NetworkDriver.DiscoverDelete", nothing),
    ("/IpamDriver.GetCapabilities", |_, _| {
        Ok(json!({ "RequiresMACAddress": true, "RequiresRequestReplay": false }))
    }),
    ("/IpamDriver.GetDefaultAddressSpaces", |plugin, _| {
        shown(&plugin.ipam.address_spaces())
    }),
    ("/IpamDriver.RequestPool", |plugin, body| {
        shown(&plugin.ipam.request_pool(&read(body)?)?)
    }),
    ("/IpamDriver.ReleasePool", |plugin, body| {
        plugin.ipam.release_pool(&read(body)?).map(done)
    }),
    ("/IpamDriver.RequestAddress", |plugin, body| {
        shown(&plugin.ipam.request_address(&read(body)?)?)
    }),
    ("/IpamDriver.ReleaseAddress", |plugin, body| {
        plugin.ipam.release_address(&read(body)?).map(done)
    }),
];

/// A body's value; no body at all is `{}`.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body: &[u8] = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    Ok(serde_json::from_slice(body)?)
}

fn shown(answer: &impl Serialize) -> Result<Value, Refusal> {
    Ok(serde_json::to_value(answer)?)
}

fn done((): ()) -> Value {
    json!({})
}

fn nothing(_: &Plugin, _: &[u8]) -> Result<Value, Refusal> {
    Ok(json!({}))
}
