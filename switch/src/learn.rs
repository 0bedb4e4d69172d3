//! Stage 3, learn: remember where the source is.

use crate::fdb::Learning;
use crate::topology::Ingress;
use pipeline::{Context, Decision, DropReason, Effects, Trace};
use wire::{MacAddr, VlanId};

/// Learns that `mac` in `vlan` is where the frame came from. Returns what was new.
///
/// # Errors
/// [`DropReason::StaticElsewhere`]: the address has a static entry elsewhere.
pub fn learn<T: Trace>(
    context: &mut Context<T>,
    ingress: Ingress<'_>,
    vlan: VlanId,
    mac: MacAddr,
) -> Result<Learning, DropReason> {
    let (fdb, port) = (&ingress.network.fdb, ingress.location());
    let learning = match context.effects {
        Effects::Live => fdb.learn(vlan, mac, port, context.now),
        Effects::None => fdb.assess(vlan, mac, port, context.now),
    };
    context.tell(match learning {
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
        | Learning::NoRoom => Ok(learning),
    }
}
