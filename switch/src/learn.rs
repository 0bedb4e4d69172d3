//! Stage 3, learn: remember behind which port the source is.

use crate::fdb::Learning;
use crate::topology::Ingress;
use pipeline::{Decision, DropReason, Effects, Instant, Trace};
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
    trace.tell(match learning {
        Learning::Known => Decision::SourceKnown { mac, port },
        Learning::Refresh => Decision::SourceRefreshed { mac, port },
        Learning::New { .. } => Decision::SourceLearned { mac, port },
        Learning::Moved { from } => Decision::SourceMoved {
            mac,
            from,
            to: port,
        },
        Learning::StaticElsewhere { on } => Decision::SourceStatic { mac, port: on },
        Learning::NoRoom => Decision::SourceNotLearned { mac },
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
