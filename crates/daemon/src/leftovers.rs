//! What is ours in the host's network, looked at without a daemon: `clearway doctor` after a crash.

use api::{ApiError, Cleaned, Finding, Name};
use host::doctor;
use host::{Links, Netns};

/// Everything in this process's namespace that a Clearway daemon put there.
///
/// # Errors
/// When the kernel does not show it.
pub fn inspect() -> Result<Vec<Finding>, ApiError> {
    let found = Netns::with_own_links(doctor::inspect).map_err(unavailable)?;
    Ok(found.iter().map(shown).collect())
}

/// Undoes all of it. Containers keep their TAPs, and lose a veth whose other end was made here; what they have
/// open to the world ends.
///
/// # Errors
/// When the kernel does not show it. What could not be undone is told with its finding.
pub fn clean() -> Result<Vec<Cleaned>, ApiError> {
    undo(doctor::inspect)
}

/// Undoes what of it is of one bridge: it has its containers back.
///
/// # Errors
/// As [`clean`].
pub fn release(bridge: &Name) -> Result<Vec<Cleaned>, ApiError> {
    undo(|links| doctor::inspect_bridge(links, bridge.as_str()))
}

fn undo(
    inspect: impl FnOnce(&Links) -> Result<Vec<doctor::Finding>, host::Error> + Send,
) -> Result<Vec<Cleaned>, ApiError> {
    let undone = Netns::with_own_links(|links| {
        let findings = inspect(links)?;
        let undo = |finding: &doctor::Finding| {
            let programs = remove_programs(links, &finding.at);
            let failed = doctor::clean(links, std::slice::from_ref(finding));
            let failed = failed.first().map(ToString::to_string);
            Cleaned {
                finding: shown(finding),
                failed: failed.or(programs.err()),
            }
        };
        Ok(findings.iter().map(undo).collect())
    });
    undone.map_err(unavailable)
}

/// Removes what carries frames in the kernel from an interface of ours, or that we took.
pub(crate) fn remove_programs(links: &Links, ifname: &str) -> Result<(), String> {
    match links.state(ifname) {
        Ok(Some(state)) => offload::remove_leftover(state.index)
            .map(drop)
            .map_err(|error| error.to_string()),
        Ok(None) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn shown(finding: &doctor::Finding) -> Finding {
    Finding {
        what: finding.what.clone(),
        r#where: finding.at.clone(),
        undo: finding.undo.clone(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn unavailable(error: host::Error) -> ApiError {
    ApiError::unavailable(error.to_string())
}
