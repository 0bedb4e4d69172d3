//! The external ports of one external address, protocol and shard: who holds which.
//!
//! A port belongs to the shard that bits 1 to 4 of it name, so both ports of a pair are in one
//! shard and parity can be kept (RFC 4787 REQ-4). Inside a shard ports are numbered without gaps:
//!
//! ```text
//!   port    pppppppppppssssb        local   pppppppppppb        b parity, s shard
//! ```
//! Pages of 64 ports are made when a port of them is first used; a word of bits a page says which
//! are taken, so a free port is found in as many steps as there are pages: 16 for the 16,384
//! dynamic ports, however many are taken.
//!
//! A port is held by one mapping, or shared by connections that differ in their peer, which only a
//! mapping that depends on the peer's address and port allows (see `translate.rs`).

use crate::PortRange;
use std::num::NonZeroU32;

/// Bits of a port that name its shard.
pub(crate) const SHARD_BITS: u32 = 4;

/// The ports.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pages: Vec<Option<Box<Page>>>,
}

/// Who holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody.
    Free,
    /// The mapping whose first session this is.
    Mapping(u32),
    /// So many sessions that differ in their peer.
    Shared(NonZeroU32),
}

/// Which ports will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parity {
    /// Those as odd or even as this port.
    As(u16),
    /// All.
    Any,
}

#[derive(Debug)]
struct Page {
    taken: u64,
    holders: [u32; 64],
}

const SHARED: u32 = 1 << 31;
const EVEN: u64 = 0x5555_5555_5555_5555;
/// Peers tried before a port that has one free is given up, where ports are shared.
const TRIES: usize = 128;

impl Pool {
    /// No port of it is held.
    pub(crate) const EMPTY: &'static Self = &Self { pages: Vec::new() };

    /// Returns who holds `port`.
    pub(crate) fn holder(&self, port: u16) -> Holder {
        let (page, place) = local(port);
        match self.pages.get(page) {
            Some(Some(page)) => Holder::unpack(page.holders[place]),
            Some(None) | None => Holder::Free,
        }
    }

    /// Says who holds `port`.
    pub(crate) fn set(&mut self, port: u16, holder: Holder) {
        let (page, place) = local(port);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page].get_or_insert_with(|| {
            Box::new(Page {
                taken: 0,
                holders: [0; 64],
            })
        });
        page.holders[place] = holder.pack();
        match holder {
            Holder::Free => page.taken &= !(1 << place),
            Holder::Mapping(_) | Holder::Shared(_) => page.taken |= 1 << place,
        }
    }

    /// A port of `range` that nobody holds, or the one that is as good as free (`over`), looked for
    /// from `start` (any number) on.
    pub(crate) fn free(
        &self,
        (shard, range, parity): (usize, PortRange, Parity),
        over: Option<u16>,
        start: u32,
        mut allowed: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let (first, last) = (local(range.first()).0, local(range.last()).0);
        let pages = last.checked_sub(first)? + 1;
        let mask = match parity {
            Parity::As(port) if port & 1 == 0 => EVEN,
            Parity::As(_) => !EVEN,
            Parity::Any => u64::MAX,
        };
        let (begin, turn) = (start as usize >> 6, start & 63);
        (0..pages).find_map(|step| {
            let page = first + (begin + step) % pages;
            let mut taken = match self.pages.get(page) {
                Some(Some(page)) => page.taken,
                Some(None) | None => 0,
            };
            if let Some((of, place)) = over.map(local)
                && of == page
            {
                taken &= !(1 << place);
            }
            // Turned, so that the search begins somewhere in the page rather than at its end.
            let mut open = (!taken & mask).rotate_right(turn);
            while open != 0 {
                let place = (open.trailing_zeros() + turn) & 63;
                let port = port_at(page, place, shard);
                if range.contains(port) && allowed(port) {
                    return Some(port);
                }
                open &= open - 1;
            }
            None
        })
    }

    /// Ports of `range` in some order from `start` on, each at most once and not all of them.
    pub(crate) fn candidates(
        (shard, range, parity): (usize, PortRange, Parity),
        start: u32,
    ) -> impl Iterator<Item = u16> {
        let (first, last) = (local(range.first()).0, local(range.last()).0);
        let places = (last + 1).saturating_sub(first) * 64;
        let (step, fixed) = match parity {
            Parity::As(port) => (2, Some(u32::from(port & 1))),
            Parity::Any => (1, None),
        };
        let begin = (start as usize).checked_rem(places).unwrap_or(0);
        (0..places / step)
            .map(move |n| {
                let place = (begin + n * step) % places;
                let within = u32::try_from(place & 63).expect("below 64");
                let within = fixed.map_or(within, |odd| within & !1 | odd);
                port_at(first + (place >> 6), within, shard)
            })
            .filter(move |&port| range.contains(port))
            .take(TRIES)
    }

    /// Bytes of memory behind it.
    pub(crate) fn bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        pages * size_of::<Page>() + self.pages.capacity() * size_of::<Option<Box<Page>>>()
    }
}

impl Holder {
    fn unpack(word: u32) -> Self {
        match NonZeroU32::new(word & !SHARED) {
            None => Self::Free,
            Some(count) if word & SHARED != 0 => Self::Shared(count),
            Some(next) => Self::Mapping(next.get() - 1),
        }
    }

    fn pack(self) -> u32 {
        match self {
            Self::Free => 0,
            Self::Mapping(head) => head + 1,
            Self::Shared(count) => count.get() | SHARED,
        }
    }
}

/// Page and place of a port.
fn local(port: u16) -> (usize, usize) {
    let local = usize::from(port >> (SHARD_BITS + 1) << 1 | port & 1);
    (local >> 6, local & 63)
}

/// The port at a page and place of a shard.
fn port_at(page: usize, place: u32, shard: usize) -> u16 {
    let local = page << 6 | place as usize;
    let port = local >> 1 << (SHARD_BITS + 1) | shard << 1 | local & 1;
    u16::try_from(port).expect("pages are those of ports")
}

#[cfg(test)]
mod tests;
