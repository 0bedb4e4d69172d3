//! The table that all workers read and one writer at a time changes.
//!
//! Buckets of four places, each bucket one cache line, so a question about an entry in its first
//! bucket waits for one line of memory:
//!
//! ```text
//!   | key 0 | key 1 | key 2 | key 3 | val 0 | val 1 | val 2 | val 3 |        64 bytes
//!
//!   key    generation (4) | VLAN (12) | MAC (48)         VLAN and MAC are 0 where the place is free
//!   value  port (16) | peer (16) | generation (4) | second seen (28)
//! ```
//! A key has two buckets. It goes into its first; if that is full into its second; if that is full
//! too, one of the eight residents moves to *its* other bucket and leaves its place. With three
//! places for an entry, a completely filled table has 1 of 100 keys in their second bucket, 4 of 100
//! after long churn, and in a simulation each of four million keys found room in a full table.
//!
//! Measurements (the two questions of one frame, nanoseconds, random order, a batch of 32 frames
//! warmed; bare prototypes of the shapes, interleaved in one run on a 2.6 GHz Sapphire Rapids):
//!
//! ```text
//!                                               entries:   1 k    64 k     1 M
//!   7 places in two lines (keys | values), 2 for an entry  10.1    14.6    25-33
//!   4 places in one line, 3 for an entry                    8.6    12.7    18
//! ```
//! Warming is an ordinary load whose result nobody waits for: without `unsafe` there is no prefetch
//! instruction. Pages of 4 KiB are part of the million's price: with huge pages and no warming at all
//! the two-line shape fell from 62 to 33.
//!
//! # Readers beside a writer
//! Writers hold the ledger's lock. A reader holds nothing, and must never take the value of one key
//! for that of another. A place changes hands only by way of a free place, and each tenancy has the
//! next generation, which stands in both words:
//!
//! ```text
//!   writer   vacate:  key := free                     reader   k := key, is it mine?   (acquire)
//!                     value := 0       (acq-rel)               v := value              (acquire)
//!            occupy:  value := v, g+1  (release)               generations of k and v equal?
//!                     key := k, g+1    (release)               key = k still?          else again
//! ```
//! Say the reader took a value that another tenancy wrote. Then the generations differ, or that
//! tenancy is 16 or a multiple of it away; and as its write released the free key before it, the last
//! look sees that free key or something later, equal to `k` only if the very same address moved into
//! the very same place again a multiple of 16 tenancies later. So a wrong answer needs a reader that
//! is stopped between its second and its third load *and* between its third and fourth, while the
//! place changes hands 16 times each time around, the last time back: on paper only.
//!
//! A move changes one value, in one store. A refresh is a compare-and-swap on the value, so it undoes
//! neither a move nor, as a vacated place has value 0, a later tenant. A resident that goes to its
//! other bucket stands in both for a moment, and takes a refresh that came in between along. A reader
//! that looks at its first bucket before and at its second after the move misses it: it answers that
//! nobody knows, and one frame is flooded.

use super::Kind;
use super::sync::AtomicU64;
use pipeline::{Instant, Location, PeerId, PortId};
use std::hint::black_box;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;
use wire::{MacAddr, VlanId};

const WAYS: usize = 4;
/// Places per entry.
const SPARE: usize = 3;
/// Below this a few unlucky keys could fill the buckets of a small table; it costs 4 KiB.
const LEAST_BUCKETS: usize = 64;
/// Buckets that fill 2 MiB, a large second-level cache: 43 690 entries. Warming a table of 64 000
/// breaks even, and a larger one's pays; one of a thousand lost 2 ns a question.
const LARGE: usize = (2 << 20) / size_of::<Bucket>();
/// How often a reader starts again before it says that it found nothing.
const ATTEMPTS: usize = 4;

const SEEN_BITS: u32 = 28;
const KEY_BITS: u32 = 60;
/// After how many tenancies a place has the same generation again. The model has few enough of
/// them to come round.
const GENERATIONS: u64 = if cfg!(loom) { 2 } else { 16 };
const KEY: u64 = (1 << KEY_BITS) - 1;

/// A moment in whole seconds since the clock's origin; from 8.5 years on all are one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Second(u32);

impl Second {
    /// Later than every moment: what a static entry was last seen at, and an age nothing reaches.
    pub(super) const NEVER: Self = Self((1 << SEEN_BITS) - 1);

    pub(super) fn new(seconds: u64) -> Self {
        Self(
            u32::try_from(seconds)
                .unwrap_or(u32::MAX)
                .min(Self::NEVER.0 - 1),
        )
    }

    #[inline]
    pub(super) fn of(now: Instant) -> Self {
        Self::new(now.as_secs())
    }
}

/// A VLAN and an address in 60 bits, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    #[inline]
    pub(super) fn new(vlan: VlanId, mac: MacAddr) -> Self {
        Self((u64::from(vlan.get()) << 48) | mac.to_u64())
    }

    pub(super) fn vlan(self) -> VlanId {
        let [high, low, ..] = self.0.to_be_bytes();
        VlanId::new(u16::from_be_bytes([high, low])).expect("a key is made from a VLAN")
    }

    pub(super) fn mac(self) -> MacAddr {
        MacAddr::from_u64(self.0)
    }
}

/// A location, the second it was last heard from, and a generation that matters to this file alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value(u64);

impl Value {
    pub(super) fn learned(at: Location, seen: Second) -> Self {
        let Location { port, peer } = at;
        Self((u64::from(port.0) << 48) | (u64::from(peer.0) << 32) | u64::from(seen.0))
    }

    /// A static entry: seen at the end of time, so that it never ages and needs no refresh.
    pub(super) fn pinned(at: Location) -> Self {
        Self::learned(at, Second::NEVER)
    }

    #[inline]
    pub(super) fn location(self) -> Location {
        let [p0, p1, q0, q1, ..] = self.0.to_be_bytes();
        Location {
            port: PortId(u16::from_be_bytes([p0, p1])),
            peer: PeerId(u16::from_be_bytes([q0, q1])),
        }
    }

    #[inline]
    pub(super) fn port(self) -> PortId {
        self.location().port
    }

    #[inline]
    pub(super) fn seen(self) -> Second {
        Second(low(self.0) & Second::NEVER.0)
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        if self.seen() == Second::NEVER {
            Kind::Static
        } else {
            Kind::Learned
        }
    }

    /// Returns whether it was seen in the second `now`, or later, or is static.
    #[inline]
    pub(super) fn is_fresh(self, now: Second) -> bool {
        self.seen() >= now
    }

    #[inline]
    pub(super) fn is_older(self, age: Second, now: Second) -> bool {
        now.0.saturating_sub(self.seen().0) > age.0
    }

    pub(super) fn age(self, now: Second) -> Duration {
        Duration::from_secs(u64::from(now.0.saturating_sub(self.seen().0)))
    }

    #[inline]
    fn seen_at(self, now: Second) -> Self {
        Self((self.0 & !u64::from(Second::NEVER.0)) | u64::from(now.0))
    }

    fn of_generation(self, generation: u64) -> Self {
        Self((self.0 & !(0xf << SEEN_BITS)) | (generation << SEEN_BITS))
    }

    #[inline]
    fn generation(self) -> u64 {
        (self.0 >> SEEN_BITS) & 0xf
    }
}

/// A place of the table: bucket and way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

impl Place {
    /// The `number`th place, below [`Table::places`].
    #[inline]
    pub(super) fn new(number: usize) -> Self {
        Self(u32::try_from(number).expect("the largest table has 12.6 million places"))
    }

    #[inline]
    fn at(bucket: usize, way: usize) -> Self {
        Self::new(bucket * WAYS + way)
    }

    fn bucket(self) -> usize {
        self.0 as usize / WAYS
    }

    fn way(self) -> usize {
        self.0 as usize % WAYS
    }
}

impl From<u32> for Place {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<Place> for u32 {
    fn from(place: Place) -> Self {
        place.0
    }
}

/// Room for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// A free place.
    Free(Place),
    /// A place that is free once its resident has gone to another.
    After {
        /// The resident's place, where the key goes.
        from: Place,
        /// The resident's other place.
        to: Place,
    },
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    keys: [AtomicU64; WAYS],
    values: [AtomicU64; WAYS],
}

impl Bucket {
    #[inline]
    fn find(&self, key: Key) -> Option<(usize, Value)> {
        let way = self.way_of(key)?;
        match self.read(way) {
            Some((held, value)) if held == key => Some((way, value)),
            Some(_) | None => self.find_again(key),
        }
    }

    /// The place changed hands between two looks.
    #[cold]
    #[inline(never)]
    fn find_again(&self, key: Key) -> Option<(usize, Value)> {
        (0..ATTEMPTS).find_map(|_| {
            let way = self.way_of(key)?;
            self.read(way)
                .filter(|&(held, _)| held == key)
                .map(|(_, value)| (way, value))
        })
    }

    /// All four compared without a branch: which of them holds the key cannot be predicted.
    #[inline]
    fn way_of(&self, key: Key) -> Option<usize> {
        let mut ways = 0;
        for (way, word) in self.keys.iter().enumerate() {
            ways |= u32::from(word.load(Relaxed) & KEY == key.0) << way;
        }
        (ways != 0).then(|| ways.trailing_zeros() as usize)
    }

    /// Returns what stands at `way`; `None` when it is free, or changes hands at this moment.
    #[inline]
    fn read(&self, way: usize) -> Option<(Key, Value)> {
        let word = self.keys[way].load(Acquire);
        let value = Value(self.values[way].load(Acquire));
        let again = self.keys[way].load(Acquire);
        let whole = again == word && value.generation() == word >> KEY_BITS;
        (whole && word & KEY != 0).then_some((Key(word & KEY), value))
    }

    fn free(&self) -> Option<usize> {
        self.keys
            .iter()
            .position(|word| word.load(Relaxed) & KEY == 0)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    secret: [u64; 4],
}

/// Methods that everybody may call, beside a writer.
impl Table {
    /// A table with room for `entries` entries.
    pub(super) fn new(entries: u32, seed: u64) -> Self {
        Self::with_buckets(
            (entries as usize * SPARE).div_ceil(WAYS).max(LEAST_BUCKETS),
            seed,
        )
    }

    pub(super) fn with_buckets(buckets: usize, seed: u64) -> Self {
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            secret: spread(seed),
        }
    }

    /// Returns whether its buckets are more bytes than a core's own cache has.
    #[inline]
    pub(super) fn is_large(&self) -> bool {
        self.buckets.len() > LARGE
    }

    /// Returns how many places there are.
    pub(super) fn places(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// Returns where `key` is, and its value.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<(Place, Value)> {
        let hash = self.hash(key);
        self.find_in(self.first(hash), key)
            .or_else(|| self.find_in(self.second(hash), key))
    }

    #[inline]
    fn find_in(&self, bucket: usize, key: Key) -> Option<(Place, Value)> {
        let (way, value) = self.buckets[bucket].find(key)?;
        Some((Place::at(bucket, way), value))
    }

    /// Touches the first bucket of `key`. Nothing waits for the load, so those of a batch run side
    /// by side.
    #[inline]
    pub(super) fn warm(&self, key: Key) {
        black_box(self.buckets[self.first(self.hash(key))].keys[0].load(Relaxed));
    }

    /// Notes that the entry at `place`, whose value was `old`, was heard from at `now`. False when
    /// the value is another one by now.
    #[inline]
    pub(super) fn refresh(&self, place: Place, old: Value, now: Second) -> bool {
        let value = &self.buckets[place.bucket()].values[place.way()];
        value
            .compare_exchange(old.0, old.seen_at(now).0, Release, Relaxed)
            .is_ok()
    }

    /// Returns what stands at `place`; `None` when it is free, or changes hands at this moment.
    pub(super) fn read(&self, place: Place) -> Option<(Key, Value)> {
        self.buckets[place.bucket()].read(place.way())
    }

    #[inline]
    fn first(&self, hash: u64) -> usize {
        scale(low(hash), self.buckets.len())
    }

    #[inline]
    fn second(&self, hash: u64) -> usize {
        scale(low(hash >> 32), self.buckets.len())
    }

    /// Two folded multiplications with secret words. Without the secret nobody can tell which keys
    /// meet; with one multiplication, evenly spaced keys would still meet more often than by chance.
    #[inline]
    fn hash(&self, key: Key) -> u64 {
        let [a, b, c, d] = self.secret;
        fold(fold(key.0 ^ a, b) ^ c, d)
    }
}

/// Methods that only the holder of the ledger may call.
impl Table {
    /// The key at `place`, which is held.
    pub(super) fn key(&self, place: Place) -> Key {
        Key(self.buckets[place.bucket()].keys[place.way()].load(Relaxed) & KEY)
    }

    /// The value at `place`, which is held. Only its second can change before the next look.
    pub(super) fn value(&self, place: Place) -> Value {
        Value(self.buckets[place.bucket()].values[place.way()].load(Relaxed))
    }

    /// Returns where `key`, which stands nowhere, could stand: in its first bucket, else in its second, else
    /// instead of a resident that can go to its own other bucket.
    pub(super) fn room(&self, key: Key) -> Option<Room> {
        let homes = self.homes(key);
        if let Some(free) = homes.into_iter().find_map(|bucket| self.free(bucket)) {
            return Some(Room::Free(free));
        }
        let residents = homes
            .into_iter()
            .flat_map(|bucket| (0..WAYS).map(move |way| Place::at(bucket, way)));
        residents.into_iter().find_map(|from| {
            let mut others = self
                .homes(self.key(from))
                .into_iter()
                .filter(|&home| home != from.bucket());
            let to = others.find_map(|bucket| self.free(bucket))?;
            Some(Room::After { from, to })
        })
    }

    /// Puts `key` into the free `place`.
    pub(super) fn occupy(&self, place: Place, key: Key, value: Value) {
        let (bucket, way) = (&self.buckets[place.bucket()], place.way());
        let generation = ((bucket.keys[way].load(Relaxed) >> KEY_BITS) + 1) % GENERATIONS;
        bucket.values[way].store(value.of_generation(generation).0, Release);
        bucket.keys[way].store((generation << KEY_BITS) | key.0, Release);
    }

    /// Frees `place` and answers the last value it had.
    pub(super) fn vacate(&self, place: Place) -> Value {
        let (bucket, way) = (&self.buckets[place.bucket()], place.way());
        // The key goes first: who reads the dead value finds out when it looks at the key again.
        bucket.keys[way].store(bucket.keys[way].load(Relaxed) & !KEY, Release);
        Value(bucket.values[way].swap(0, AcqRel))
    }

    /// Moves what stands at `from` to the free place `to`. It is found in one of them throughout.
    pub(super) fn relocate(&self, from: Place, to: Place) {
        self.occupy(to, self.key(from), self.value(from));
        let last = self.vacate(from);
        // A refresh may have come in between. It changed the lowest bits, so the later is the larger.
        let (bucket, way) = (&self.buckets[to.bucket()], to.way());
        let generation = bucket.keys[way].load(Relaxed) >> KEY_BITS;
        bucket.values[way].fetch_max(last.of_generation(generation).0, Release);
    }

    /// Gives the key at `place` another value.
    pub(super) fn set(&self, place: Place, value: Value) {
        let (bucket, way) = (&self.buckets[place.bucket()], place.way());
        let generation = bucket.keys[way].load(Relaxed) >> KEY_BITS;
        // A store would do; but beside a refresh, model.rs can only order two read-modify-writes.
        bucket.values[way].swap(value.of_generation(generation).0, Release);
    }

    fn homes(&self, key: Key) -> [usize; 2] {
        let hash = self.hash(key);
        [self.first(hash), self.second(hash)]
    }

    fn free(&self, bucket: usize) -> Option<Place> {
        Some(Place::at(bucket, self.buckets[bucket].free()?))
    }
}

/// Four secret words from one (splitmix64).
fn spread(seed: u64) -> [u64; 4] {
    let mut state = seed;
    std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Both halves of the product, one over the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of a product"
    )]
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

/// A hash as a number below `len`, without a division.
#[inline]
fn scale(hash: u32, len: usize) -> usize {
    ((u64::from(hash) * len as u64) >> 32) as usize
}

#[inline]
fn low(word: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
    let half = word as u32;
    half
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::new(VlanId::DEFAULT, MacAddr::from_u64(n))
    }

    fn value(port: u16, seen: u64) -> Value {
        Value::learned(PortId(port).into(), Second::new(seen))
    }

    /// The view of a reader that is stopped between its looks, frozen.
    #[test]
    fn words_of_two_tenancies_do_not_make_an_entry() {
        let table = Table::with_buckets(1, 1);
        let Some(Room::Free(place)) = table.room(key(1)) else {
            panic!("an empty table has room")
        };
        table.occupy(place, key(1), value(1, 5));
        let word = table.buckets[0].keys[place.way()].load(Relaxed);
        table.vacate(place);
        table.occupy(place, key(2), value(2, 5));
        assert_eq!(
            table.find(key(2)).map(|(_, value)| value.port()),
            Some(PortId(2))
        );
        // The old key beside the new tenant's value.
        table.buckets[0].keys[place.way()].store(word, Relaxed);
        assert_eq!(table.read(place), None);
        assert_eq!(table.find(key(1)), None);
    }

    #[test]
    fn a_generation_comes_round_after_sixteen() {
        let table = Table::with_buckets(1, 1);
        let place = Place::new(0);
        for tenant in 1..40 {
            table.occupy(place, key(tenant), value(7, tenant));
            assert_eq!(
                table.find(key(tenant)).map(|(_, value)| value.seen()),
                Some(Second::new(tenant))
            );
            assert_eq!(table.vacate(place).port(), PortId(7));
        }
    }

    #[test]
    fn a_place_left_behind_is_not_refreshed() {
        let table = Table::with_buckets(8, 1);
        let (from, to) = (Place::new(3), Place::new(20));
        table.occupy(from, key(1), value(1, 5));
        let held = table.value(from);
        table.relocate(from, to);
        assert!(!table.refresh(from, held, Second::new(10)));
        assert_eq!(table.read(from), None);
        let (moved, seen) = table.read(to).unwrap();
        assert_eq!(
            (moved, seen.port(), seen.seen()),
            (key(1), PortId(1), Second::new(5))
        );
    }

    #[test]
    fn a_static_value_is_fresh_for_ever() {
        let last = Location {
            port: PortId(u16::MAX),
            peer: PeerId(u16::MAX),
        };
        let pinned = Value::pinned(last);
        let end = Second::of(Instant::from_nanos(u64::MAX));
        assert!(pinned.is_fresh(end) && !pinned.is_older(Second::new(0), end));
        assert_eq!(
            (pinned.location(), pinned.kind(), pinned.age(end)),
            (last, Kind::Static, Duration::ZERO)
        );
        assert_eq!(Value::learned(PortId(0).into(), end).kind(), Kind::Learned);
    }
}
