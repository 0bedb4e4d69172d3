//! What is ours in the host's network, looked at without a daemon: `clearway doctor` after a crash.

use api::{ApiError, Cleaned, Finding, Name};
use host::doctor;
use host::{Links, Netns, Place};

/// Everything in this process's namespace that a Clearway daemon put there.
///
/// # Errors
/// When the kernel does not show it.
pub fn inspect() -> Result<Vec<Finding>, ApiError> {
    in_own_namespace(|links| Ok(doctor::inspect(links)?.iter().map(shown).collect()))
}

/// Undoes all of it. Containers keep their interfaces; what they have open to the world ends.
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
    in_own_namespace(|links| {
        let findings = inspect(links)?;
        let undo = |finding: &doctor::Finding| {
            let failed = doctor::clean(links, std::slice::from_ref(finding));
            Cleaned {
                finding: shown(finding),
                failed: failed.first().map(ToString::to_string),
            }
        };
        Ok(findings.iter().map(undo).collect())
    })
}

pub(crate) fn shown(finding: &doctor::Finding) -> Finding {
    Finding {
        what: finding.what.clone(),
        r#where: finding.at.clone(),
        undo: finding.undo.clone(),
    }
}

fn in_own_namespace<T: Send>(
    work: impl FnOnce(&Links) -> Result<T, host::Error> + Send,
) -> Result<T, ApiError> {
    let done = Netns::find(Place::Own).and_then(|own| own.run(|inside| work(&inside.links()?)));
    done.map_err(|error| ApiError::unavailable(error.to_string()))
}
