//! What is ours in the host's network, looked at without a daemon: `clearway doctor` after a crash.

use crate::plan::{self, Trouble, carry_out};
use api::{ApiError, Cleaned, Finding, Name};
use control::reconcile::Left;
use control::{Action, Observed, State, reconcile};
use host::doctor::{self, Mark};
use host::{Links, Netns};

/// Everything in this process's namespace that a Clearway daemon put there.
///
/// # Errors
/// When the kernel does not show it.
pub fn inspect() -> Result<Vec<Finding>, ApiError> {
    let found = Netns::with_own_links(all).map_err(unavailable)?;
    Ok(found.iter().map(shown).collect())
}

/// Undoes all of it. Containers keep their TAPs, and lose a veth whose other end was made here; what they have
/// open to the world ends.
///
/// # Errors
/// When the kernel does not show it. What could not be undone is told with its finding.
pub fn clean() -> Result<Vec<Cleaned>, ApiError> {
    undo(all)
}

/// Undoes what of it is of one bridge: it has its containers back.
///
/// # Errors
/// As [`clean`].
pub fn release(bridge: &Name) -> Result<Vec<Cleaned>, ApiError> {
    undo(|links| {
        let ports = links.taken_ports(bridge.as_str())?;
        let mut found = programs(links)?;
        found.retain(|program| ports.contains(&program.at));
        found.extend(doctor::inspect_bridge(links, bridge.as_str())?);
        Ok(found)
    })
}

/// Everything of ours, in the order in which it is best undone.
fn all(links: &Links) -> Result<Vec<doctor::Finding>, Trouble> {
    let mut found = programs(links)?;
    found.extend(doctor::inspect(links)?);
    Ok(found)
}

/// The programs that carry frames, but for those on the host's side of an endpoint, with which they go.
fn programs(links: &Links) -> Result<Vec<doctor::Finding>, Trouble> {
    let mut found = Vec::new();
    for (ifname, state) in links.all()? {
        if state.endpoint().is_some() {
            continue;
        }
        let commands = offload::removing_commands(state.index, &ifname)?.into_iter();
        found.extend(commands.map(|undo| doctor::Finding {
            what: "filter: what has a lease goes straight to its container".to_owned(),
            at: ifname.clone(),
            undo,
            mark: Mark::Filter,
        }));
    }
    Ok(found)
}

fn undo(
    inspect: impl FnOnce(&Links) -> Result<Vec<doctor::Finding>, Trouble> + Send,
) -> Result<Vec<Cleaned>, ApiError> {
    let undone = Netns::with_own_links(|links| {
        let findings = inspect(links)?;
        let observed = Observed {
            left: findings.iter().map(left).collect(),
            ..Observed::default()
        };
        let plan = reconcile(&State::new(0), &observed);
        let failed = carry_out(&plan.actions, |action| {
            let Action::Undo(left) = action else {
                return Err(Trouble("that needs a daemon".to_owned()));
            };
            plan::undo(links, left)
        });
        let cleaned = |finding: &doctor::Finding| {
            let undoing = Action::Undo(left(finding));
            let failure = failed.iter().find(|(action, _)| *action == undoing);
            Cleaned {
                finding: shown(finding),
                failed: failure.map(|(_, why)| why.clone()),
            }
        };
        Ok(findings.iter().map(cleaned).collect())
    });
    undone.map_err(unavailable)
}

fn left(finding: &doctor::Finding) -> Left {
    let at = finding.at.clone();
    match finding.mark {
        Mark::Filter | Mark::Qdisc => Left::Filters(at),
        Mark::ReservedPorts => Left::ReservedPorts,
        Mark::Interface | Mark::OnTap => Left::Interface(at),
        Mark::TakenPort => Left::TakenPort(at),
        Mark::Route(gateway) => Left::Way { tap: at, gateway },
    }
}

pub(crate) fn shown(finding: &doctor::Finding) -> Finding {
    Finding {
        what: finding.what.clone(),
        r#where: finding.at.clone(),
        undo: finding.undo.clone(),
    }
}

fn unavailable(Trouble(why): Trouble) -> ApiError {
    ApiError::unavailable(why)
}
