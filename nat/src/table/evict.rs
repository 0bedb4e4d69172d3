//! Room for a new session, without harm to endpoints that ask for little.
//!
//! **The attack** is an endpoint that opens connections as fast as it can. Its quota bounds what
//! it holds; below that, a full shard takes from whoever holds most:
//!
//! ```text
//!   at its quota    loses its own oldest that is closing, or opening for GRACE;     else QuotaExceeded
//!   shard is full   who holds most loses its oldest that is closing, opening;
//!                   its most idle established one, when it is above its fair share
//!                   and holds four times what the newcomer does;                     else NatTableFull
//! ```
//! An endpoint never loses one to another that would then hold more, and what it has just begun only
//! to one that would still hold less. Ranks are powers of two (`owners.rs`),
//! so "most" may be half of the most. What is at its quota is looked for in the packet's own shard.

use super::events::Ending;
use super::key::Key;
use super::owners::{Endpoint, Tally};
use super::session::Class;
use super::shard::{Shard, View};
use crate::Inside;
use pipeline::{DropReason, Instant};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long an unanswered connection is left in peace.
const GRACE: Duration = Duration::from_secs(5);
/// Established sessions compared for the most idle.
const LOOKS: usize = 8;

impl Shard {
    /// The session that has to go for one of `endpoint`, which may hold `quota`, if any has to;
    /// `stale` is one whose place it takes. What is refused later must not have cost anybody
    /// anything, so the caller evicts it once nothing can go wrong any more.
    pub(crate) fn room(
        &mut self,
        (endpoint, tally, quota): (Endpoint, &Tally, u32),
        stale: Option<u32>,
        view: &View<'_>,
    ) -> Result<Option<u32>, DropReason> {
        let owner = self.owners.find(endpoint);
        let stale = stale.and_then(|at| self.get(at));
        let freed = u32::from(stale.is_some_and(|stale| Some(stale.owner) == owner));
        let full = self.sessions.len() - usize::from(stale.is_some()) >= self.capacity;
        if tally.load(Relaxed) - freed.min(tally.load(Relaxed)) >= quota {
            let spare = owner.and_then(|owner| self.spare(owner, view));
            return spare.map(Some).ok_or(DropReason::QuotaExceeded);
        }
        if full {
            let victim = self.fair_victim(owner, view);
            return victim.map(Some).ok_or(DropReason::NatTableFull);
        }
        Ok(None)
    }

    /// Ends the mapping whose first session is `first` in favour of another one.
    pub(crate) fn evict_mapping(&mut self, first: u32, view: &View<'_>) {
        self.end_mapping(first, Ending::Evicted, view.now);
    }

    /// Returns whether the session of `key` is one of the mapping whose first session is `first`.
    pub(crate) fn is_in_mapping(&self, key: &Key, first: u32) -> bool {
        self.find(key)
            .is_some_and(|(at, _)| self.siblings(first).any(|sibling| sibling == at))
    }

    /// Sessions an endpoint holds in this shard.
    pub(super) fn held_by(&self, inside: Inside) -> u32 {
        let endpoint = Endpoint {
            network: inside.network,
            ip: inside.addr.ip.into(),
            v6: inside.addr.ip.is_ipv6(),
        };
        self.owners
            .find(endpoint)
            .and_then(|at| self.owners.get(at))
            .map_or(0, |owner| owner.count)
    }

    /// Ends a session in favour of another one, if it is still there.
    pub(crate) fn evict(&mut self, victim: u32, view: &View<'_>) {
        let over = self
            .get(victim)
            .is_some_and(|session| view.is_over(session));
        let ending = if over {
            Ending::Expired
        } else {
            Ending::Evicted
        };
        self.remove(victim, ending, view.now);
    }

    /// A session that its owner will not miss.
    fn spare(&mut self, owner: u32, view: &View<'_>) -> Option<u32> {
        if let Some(closing) = self.owners.oldest(owner, Class::Closing) {
            return Some(closing);
        }
        if let Some(opening) = self.owners.oldest(owner, Class::Opening)
            && self.has_waited(opening, view)
        {
            return Some(opening);
        }
        self.most_idle(owner, view)
            .filter(|&at| self.get(at).is_some_and(|session| view.is_over(session)))
    }

    /// Returns whether a session that is opening has had the time that every one gets.
    pub(super) fn has_waited(&self, at: u32, view: &View<'_>) -> bool {
        self.get(at).is_some_and(|session| {
            view.now.since(Instant::from_nanos(session.born)) >= GRACE || view.is_over(session)
        })
    }

    fn fair_victim(&mut self, newcomer: Option<u32>, view: &View<'_>) -> Option<u32> {
        let count = |at: Option<u32>| at.and_then(|at| self.owners.get(at)).map_or(0, |o| o.count);
        let greatest = self.owners.greatest()?;
        let (most, mine) = (count(Some(greatest)), count(newcomer));
        let loser = if most > mine { greatest } else { newcomer? };
        if let Some(closing) = self.owners.oldest(loser, Class::Closing) {
            return Some(closing);
        }
        if let Some(opening) = self.owners.oldest(loser, Class::Opening)
            && (Some(loser) == newcomer || most > mine + 1 || self.has_waited(opening, view))
        {
            return Some(opening);
        }
        let owners = self.owners.len() + usize::from(newcomer.is_none());
        let share = u32::try_from(self.capacity / owners.max(1)).unwrap_or(u32::MAX);
        let idle = self.most_idle(loser, view)?;
        let over = self.get(idle).is_some_and(|session| view.is_over(session));
        (over || (most > share && most / 4 > mine)).then_some(idle)
    }

    /// The most idle of some established sessions of `owner`. The others go to the end of the
    /// list, so that next time others are compared.
    fn most_idle(&mut self, owner: u32, view: &View<'_>) -> Option<u32> {
        let mut looked = Vec::new();
        let mut next = self.owners.oldest(owner, Class::Established);
        while let Some(at) = next.filter(|_| looked.len() < LOOKS) {
            let Some(session) = self.get(at) else { break };
            looked.push((session.last, at));
            next = Some(session.peers.next);
        }
        let (_, idle) = *looked.iter().min()?;
        if view.is_live() {
            for &(_, at) in looked.iter().filter(|&&(_, at)| at != idle) {
                self.owners.requeue(&mut self.sessions, at);
            }
        }
        Some(idle)
    }
}
