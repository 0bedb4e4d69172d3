//! Finishing for an interface what its sender left undone.
//!
//! Most interfaces take superframes and unfinished checksums as they are. Where one does not, the
//! frame is cut and summed here, in software, at the very last moment; and so is an IPv4 packet that
//! is too large for the link it is routed onto.

use pipeline::{Destination, DropReason, Frame, HEADROOM, PacketId, VNET_LEN};
use port::{Offloads, Tx};
use wire::{GsoKind, VnetHeader};

/// A worker's own room for a piece of a frame.
#[derive(Debug)]
pub(crate) struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; HEADROOM + pipeline::MAX_FRAME].into_boxed_slice())
    }
}

/// Sends `frame` through `tx` to `to`, finishing what `tx` cannot; in IP fragments of at most `fragment`
/// bytes if that is said.
pub(crate) fn transmit(
    tx: &dyn Tx,
    frame: &mut Frame<'_>,
    to: Destination,
    fragment: Option<u16>,
    scratch: &mut Scratch,
) -> Result<(), DropReason> {
    let offloads = tx.offloads();
    if let Some(mtu) = fragment {
        if frame.vnet.needs_csum() {
            complete(frame)?;
        }
        return in_pieces(tx, to, frame.id, |emit| {
            wire::fragment(frame.bytes(), mtu, &mut scratch.0, HEADROOM, emit)
                .map_err(|_| DropReason::FragmentationNeeded)
        });
    }
    if frame.vnet.is_gso() && !takes(offloads, frame.vnet.gso_kind()) {
        return in_pieces(tx, to, frame.id, |emit| {
            wire::segment(frame.bytes(), &frame.vnet, &mut scratch.0, HEADROOM, emit)
                .map_err(|_| DropReason::CannotSegment)
        });
    }
    if frame.vnet.needs_csum() && !offloads.csum {
        complete(frame)?;
    }
    tx.transmit(frame, to)
}

fn takes(offloads: Offloads, kind: Option<GsoKind>) -> bool {
    match kind {
        Some(GsoKind::Tcp4 | GsoKind::Tcp6) => offloads.tso,
        Some(GsoKind::Udp) => offloads.uso,
        None => false,
    }
}

fn complete(frame: &mut Frame<'_>) -> Result<(), DropReason> {
    let mut vnet = frame.vnet;
    wire::checksum::complete(frame.bytes_mut(), &mut vnet).map_err(|_| DropReason::VnetInvalid)?;
    frame.vnet = vnet;
    Ok(())
}

/// Sends every piece that `cut` makes; the first failure is the frame's.
fn in_pieces(
    tx: &dyn Tx,
    to: Destination,
    id: PacketId,
    cut: impl FnOnce(&mut dyn FnMut(&mut [u8])) -> Result<usize, DropReason>,
) -> Result<(), DropReason> {
    const { assert!(HEADROOM >= VNET_LEN) };
    let mut result = Ok(());
    let mut emit = |room: &mut [u8]| {
        let end = room.len();
        let mut piece = Frame::new(room, HEADROOM, end, VnetHeader::default());
        piece.id = id;
        let sent = tx.transmit(&mut piece, to);
        if result.is_ok() {
            result = sent;
        }
    };
    cut(&mut emit)?;
    result
}
