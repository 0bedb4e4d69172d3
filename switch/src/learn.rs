//! Stage 3, learn: remember behind which port the source is.

use crate::fdb::Learning;
use crate::topology::Ingress;
use pipeline::{DropReason, Effects, Instant, Stage, Trace};
use wire::{MacAddr, VlanId};

/// Learns that `mac` is behind the ingress port in `vlan`.
///
/// # Errors
/// [`DropReason::StaticElsewhere`]: the address has a static entry on another port.
pub fn learn<T: Trace>(
    ingress: Ingress<'_>,
    vlan: VlanId,
    mac: MacAddr,
    now: Instant,
    effects: Effects,
    trace: &mut T,
) -> Result<(), DropReason> {
    let (fdb, port) = (&ingress.network.fdb, ingress.port.id);
    let learning = match effects {
        Effects::Live => fdb.learn(vlan, mac, port, now),
        Effects::None => fdb.assess(vlan, mac, port, now),
    };
    trace.tell(Stage::Learn, || match learning {
        Learning::Known => format!("{mac} is known on {port}"),
        Learning::Refresh => format!("{mac} is known on {port}, its age starts anew"),
        Learning::New { .. } => format!("{mac} is new, learned on {port}"),
        Learning::Moved { from } => format!("{mac} moved from {from} to {port}"),
        Learning::StaticElsewhere { on } => format!("{mac} is static on {on}"),
        Learning::NoRoom => format!("{mac} is not learned: no room"),
    });
    match learning {
        Learning::StaticElsewhere { .. } => Err(DropReason::StaticElsewhere),
        Learning::Known
        | Learning::Refresh
        | Learning::New { .. }
        | Learning::Moved { .. }
        | Learning::NoRoom => Ok(()),
    }
}
