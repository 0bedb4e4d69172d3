//! A plan carried out, by a daemon and without one.

use control::Action;
use control::reconcile::Left;
use host::{Links, doctor};
use ipnet::IpNet;

/// Why something is not there, in words.
pub(crate) struct Trouble(pub(crate) String);

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Carries out `actions` in order; those that need one that failed are left out. Returns those
/// that failed, each with the reason.
pub(crate) fn carry_out(
    actions: &[Action],
    mut act: impl FnMut(&Action) -> Result<(), Trouble>,
) -> Vec<(Action, String)> {
    let mut failed: Vec<(Action, String)> = Vec::new();
    for action in actions {
        if failed.iter().any(|(other, _)| action.needs(other)) {
            continue;
        }
        if let Err(Trouble(why)) = act(action) {
            failed.push((action.clone(), why));
        }
    }
    failed
}

/// Takes away what an earlier daemon left, with the programs on it that carry frames.
pub(crate) fn undo(links: &Links, left: &Left) -> Result<(), Trouble> {
    let programs = match left {
        Left::Filters(ifname) | Left::Interface(ifname) | Left::TakenPort(ifname) => {
            remove_programs(links, ifname)
        }
        Left::ReservedPorts | Left::Way { .. } => Ok(()),
    };
    match left {
        Left::Filters(ifname) => doctor::unfilter(links, ifname),
        Left::ReservedPorts => doctor::unreserve(links),
        Left::Interface(ifname) => links.remove(ifname),
        Left::TakenPort(ifname) => links.give_back(ifname),
        Left::Way { tap, gateway } => {
            let route = links.remove_route(tap, gateway.trunc());
            let address = links.remove_address(tap, IpNet::from(gateway.addr()));
            route.and(address)
        }
    }?;
    programs
}

fn remove_programs(links: &Links, ifname: &str) -> Result<(), Trouble> {
    if let Some(state) = links.state(ifname)? {
        offload::remove_leftover(state.index)?;
    }
    Ok(())
}
