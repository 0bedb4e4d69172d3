//! How much of the server one client may have.
//!
//! A client is an address in a network. It has a share of the questions that wait for an answer
//! from outside, of TCP connections, and of questions a second; all clients together have a bound
//! too. What is answered in place takes no share of the first kind: with the host's resolvers dead
//! and every place taken, containers still find each other.
//!
//! The table of clients is bounded as well, since an unlocked port may send from any address.
//! Clients that have nothing under way are forgotten first, which gives them a full bucket again.
//!
//! The table is pure (`now` is passed in); a [`Permit`] gives its place back when it is dropped,
//! from any thread.

use crate::{NetworkKey, Refusal, Settings};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Clients that are remembered at most.
const CLIENTS_MAX: usize = 16_384;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) network: NetworkKey,
    pub(crate) address: IpAddr,
}

/// A resource of which a client has a bounded number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// A question that waits for an answer from outside.
    InFlight,
    /// A TCP connection.
    Connection,
}

/// The places and who has them.
#[derive(Debug)]
pub(crate) struct Limits {
    in_flight: Bound,
    connections: Bound,
    rate: u32,
    table: Mutex<Table>,
}

/// How many places there are, and why there is none.
#[derive(Debug, Clone, Copy)]
struct Bound {
    client: (usize, Refusal),
    total: (usize, Refusal),
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<Client, Share>,
    taken: Taken,
}

#[derive(Debug)]
struct Share {
    taken: Taken,
    /// Questions that may come at once.
    tokens: f64,
    /// When there were that many.
    counted: Instant,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    in_flight: usize,
    connections: usize,
}

/// A place that was taken: dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    client: Client,
    place: Limited,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            in_flight: Bound {
                client: (settings.client_in_flight, Refusal::ClientInFlight),
                total: (settings.total_in_flight, Refusal::TotalInFlight),
            },
            connections: Bound {
                client: (settings.client_connections, Refusal::ClientTcp),
                total: (settings.total_connections, Refusal::TotalTcp),
            },
            rate: settings.client_rate,
            table: Mutex::default(),
        })
    }

    /// One question of the client's rate.
    pub(crate) fn ask(&self, client: Client, now: Instant) -> Result<(), Refusal> {
        let rate = f64::from(self.rate);
        let mut table = self.table();
        let share = table
            .share(client, self.rate, now)
            .ok_or(Refusal::ClientRate)?;
        let waited = now.saturating_duration_since(share.counted).as_secs_f64();
        share.tokens = (share.tokens + waited * rate).min(rate);
        share.counted = share.counted.max(now);
        if share.tokens < 1.0 {
            return Err(Refusal::ClientRate);
        }
        share.tokens -= 1.0;
        Ok(())
    }

    /// A place, until the permit is dropped.
    pub(crate) fn take(
        self: &Arc<Self>,
        client: Client,
        place: Limited,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let bound = self.bound(place);
        let mut table = self.table();
        if *table.taken.of(place) >= bound.total.0 {
            return Err(bound.total.1);
        }
        let share = table.share(client, self.rate, now).ok_or(bound.total.1)?;
        if *share.taken.of(place) >= bound.client.0 {
            return Err(bound.client.1);
        }
        *share.taken.of(place) += 1;
        *table.taken.of(place) += 1;
        Ok(Permit {
            limits: Arc::clone(self),
            client,
            place,
        })
    }

    const fn bound(&self, place: Limited) -> Bound {
        match place {
            Limited::InFlight => self.in_flight,
            Limited::Connection => self.connections,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The client's share; none, when every place in the table is somebody's who is busy.
    fn share(&mut self, client: Client, rate: u32, now: Instant) -> Option<&mut Share> {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            self.clients.retain(|_, share| !share.taken.is_idle());
            if self.clients.len() >= CLIENTS_MAX {
                return None;
            }
        }
        let share = self.clients.entry(client).or_insert_with(|| Share {
            taken: Taken::default(),
            tokens: rate.into(),
            counted: now,
        });
        Some(share)
    }
}

impl Taken {
    const fn of(&mut self, place: Limited) -> &mut usize {
        match place {
            Limited::InFlight => &mut self.in_flight,
            Limited::Connection => &mut self.connections,
        }
    }

    const fn is_idle(self) -> bool {
        self.in_flight == 0 && self.connections == 0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = self.limits.table();
        *table.taken.of(self.place) -= 1;
        if let Some(share) = table.clients.get_mut(&self.client) {
            *share.taken.of(self.place) -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn client(number: u32) -> Client {
        Client {
            network: NetworkKey(1),
            address: Ipv4Addr::from(0x0a00_0000 + number).into(),
        }
    }

    fn limits(client_in_flight: usize, total_in_flight: usize, client_rate: u32) -> Arc<Limits> {
        Limits::new(&Settings {
            client_in_flight,
            total_in_flight,
            client_rate,
            ..Settings::default()
        })
    }

    #[test]
    fn a_bucket_fills_again() {
        let limits = limits(1, 1, 10);
        let start = Instant::now();
        for number in 0..10 {
            assert_eq!(limits.ask(client(1), start), Ok(()), "{number}");
        }
        assert_eq!(limits.ask(client(1), start), Err(Refusal::ClientRate));
        assert_eq!(limits.ask(client(2), start), Ok(()), "another has its own");
        let later = start + Duration::from_millis(110);
        assert_eq!(limits.ask(client(1), later), Ok(()));
        assert_eq!(limits.ask(client(1), later), Err(Refusal::ClientRate));
    }

    #[test]
    fn the_table_of_clients_is_bounded_and_keeps_the_busy() {
        let limits = limits(1, 10, 10);
        let start = Instant::now();
        let permit = limits.take(client(0), Limited::InFlight, start).unwrap();
        for number in 0..40_000 {
            assert_eq!(limits.ask(client(number), start), Ok(()));
            assert!(limits.table().clients.len() <= CLIENTS_MAX);
        }
        let again = limits.take(client(0), Limited::InFlight, start);
        assert_eq!(again.unwrap_err(), Refusal::ClientInFlight);
        drop(permit);
        assert!(limits.take(client(0), Limited::InFlight, start).is_ok());
    }

    proptest! {
        #[test]
        fn places_are_bounded_and_come_back(steps in vec((0..5_u32, any::<bool>()), 1..200)) {
            let limits = limits(3, 8, 1);
            let mut permits: Vec<(u32, Permit)> = Vec::new();
            for (number, is_take) in steps {
                if is_take {
                    let own = permits.iter().filter(|(owner, _)| *owner == number).count();
                    match limits.take(client(number), Limited::InFlight, Instant::now()) {
                        Ok(permit) => {
                            prop_assert!(own < 3 && permits.len() < 8);
                            permits.push((number, permit));
                        }
                        Err(Refusal::TotalInFlight) => prop_assert_eq!(permits.len(), 8),
                        Err(refusal) => {
                            prop_assert_eq!((refusal, own), (Refusal::ClientInFlight, 3));
                        }
                    }
                } else if let Some(index) = permits.iter().position(|(owner, _)| *owner == number) {
                    permits.swap_remove(index);
                }
                prop_assert_eq!(limits.table().taken.in_flight, permits.len());
            }
        }
    }
}
