//! The names of ports and networks, for sentences about decisions.
//!
//! An uplink, the host and the servers are networks with one port each, which have no name of their
//! own: both are called by what is behind them.

use crate::{Attachment, Hidden, State};
use pipeline::{Names, NetworkId, PortId};

impl Names for State {
    fn port(&self, id: PortId) -> Option<&str> {
        match Self::port(self, id) {
            Some(port) => Some(&port.name),
            None => hidden(self, |place| place.port == id),
        }
    }

    fn network(&self, id: NetworkId) -> Option<&str> {
        match Self::network(self, id) {
            Some(network) => Some(&network.network.name),
            None => hidden(self, |place| place.network == id),
        }
    }
}

/// Returns the name of the uplink, the host or the servers for whose place `is` is true.
fn hidden(state: &State, is: impl Fn(Attachment) -> bool) -> Option<&str> {
    let uplinks = state.uplinks().map(|u| (u.name.as_str(), u.place));
    let others = [(Hidden::Host, "host"), (Hidden::Services, "services")];
    let others = others
        .into_iter()
        .filter_map(|(which, name)| Some((name, state.place_of(which)?)));
    let mut all = uplinks.chain(others);
    all.find(|(_, place)| is(*place)).map(|(name, _)| name)
}
