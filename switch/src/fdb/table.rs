//! The table that all workers read and one writer at a time changes.
//!
//! Buckets of seven places. The first cache line of a bucket holds its header and all seven keys,
//! the second all seven values, so a question whose answer is "no" touches one line and any other
//! two neighbouring ones (which the hardware fetches as a pair).
//!
//! ```text
//!   line 0   | header | key 0 | key 1 | ... | key 6 |     header = version (32) | strays (32)
//!   line 1   | spare  | val 0 | val 1 | ... | val 6 |     key    = VLAN (16) | MAC (48), 0 if free
//!                                                         value  = port (32) | second seen (32)
//! ```
//! A key has two buckets. It stands in its first unless that one holds [`HOME`] keys already and
//! the second holds fewer; the first bucket counts such *strays*, and only while it has some does a
//! question go on to the second. (Always the emptier of the two, the textbook rule, puts half of
//! all keys in their second bucket: every other question then pays two misses.)
//!
//! # Readers beside a writer
//! Writers hold the ledger's lock. A reader holds nothing, and must never take the value of one key
//! for that of another. A place changes hands only by way of a free place, and each new tenant first
//! raises the bucket's version:
//!
//! ```text
//!   writer   vacate:  key := 0                        reader   h := version          (acquire)
//!            occupy:  version += 1      (release)              key = wanted?         (acquire)
//!                     value := v        (release)              v := value            (acquire)
//!                     key := k          (release)              key = wanted still?   (acquire)
//!                                                              version = h still?    else again
//! ```
//! Say the reader took a value that a *different* tenant wrote. That write released everything
//! before it, the key's 0 included, so the second look at the key sees that 0, that tenant's key, or
//! something later: equal to the wanted key only if the wanted key moved in again afterwards, and
//! that moving-in's version is then visible to the last check. It differs from `h`: had `h` been the
//! raised version already, the first look would have seen the state after the other tenant. So the
//! reader notices and starts again. A restart needs a writer who finished something in this very
//! bucket meanwhile; a writer that stands still holds up nobody.
//!
//! A move changes one value, in one store. A refresh is a compare-and-swap on the value, so it never
//! undoes a move.

use super::Kind;
use pipeline::{Instant, PortId};
use std::hint::black_box;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;
use wire::{MacAddr, VlanId};

const WAYS: usize = 7;
/// Keys in its first bucket from which on a key considers its second.
const HOME: usize = 4;
/// Numbers of places are dealt by eights, so that bucket and way fall out of a shift and a mask.
const STRIDE: usize = 8;
/// How often a reader starts again before it says that it found nothing.
const ATTEMPTS: usize = 4;

/// A moment in whole seconds since the clock's origin; the last 136 years on are one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Second(u32);

impl Second {
    /// Later than every moment: what a static entry was last seen at, and an age nothing reaches.
    pub(super) const NEVER: Self = Self(u32::MAX);

    pub(super) fn new(seconds: u64) -> Self {
        Self(u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }

    #[inline]
    pub(super) fn of(now: Instant) -> Self {
        Self::new(now.as_secs())
    }
}

/// A VLAN and an address in one word, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    #[inline]
    pub(super) fn new(vlan: VlanId, mac: MacAddr) -> Self {
        Self(u64::from(vlan.get()) << 48 | mac.to_u64())
    }

    pub(super) fn vlan(self) -> VlanId {
        let [high, low, ..] = self.0.to_be_bytes();
        VlanId::new(u16::from_be_bytes([high, low])).expect("a key is made from a VLAN")
    }

    pub(super) fn mac(self) -> MacAddr {
        MacAddr::from_u64(self.0)
    }
}

/// A port and the second it was last heard from, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value(u64);

impl Value {
    pub(super) fn learned(port: PortId, seen: Second) -> Self {
        Self(u64::from(port.0) << 32 | u64::from(seen.0))
    }

    /// A static entry: seen at the end of time, so that it never ages and needs no refresh.
    pub(super) fn pinned(port: PortId) -> Self {
        Self::learned(port, Second::NEVER)
    }

    #[inline]
    pub(super) fn port(self) -> PortId {
        PortId(high(self.0))
    }

    #[inline]
    pub(super) fn seen(self) -> Second {
        Second(low(self.0))
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        if self.seen() == Second::NEVER {
            Kind::Static
        } else {
            Kind::Learned
        }
    }

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
}

/// A place of the table: bucket and way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

impl Place {
    /// The `index`th place, below [`Table::places`].
    pub(super) fn new(index: usize) -> Self {
        Self::at(index / WAYS, index % WAYS)
    }

    fn at(bucket: usize, way: usize) -> Self {
        Self(
            u32::try_from(bucket * STRIDE + way)
                .expect("the largest table has 1.2 million buckets"),
        )
    }

    /// A number for tables beside this one, below [`Table::numbers`].
    pub(super) fn number(self) -> usize {
        self.0 as usize
    }

    fn bucket(self) -> usize {
        self.number() / STRIDE
    }

    fn way(self) -> usize {
        self.number() % STRIDE
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

#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Bucket {
    header: AtomicU64,
    keys: [AtomicU64; WAYS],
    spare: AtomicU64,
    values: [AtomicU64; WAYS],
}

enum Search {
    Hit(usize, Value),
    Miss { strays: bool },
}

impl Bucket {
    #[inline]
    fn find(&self, key: Key) -> Search {
        for _ in 0..ATTEMPTS {
            let header = self.header.load(Acquire);
            let Some(way) = self.way_of(key) else {
                return Search::Miss {
                    strays: low(header) != 0,
                };
            };
            let value = self.values[way].load(Acquire);
            if self.keys[way].load(Acquire) == key.0
                && high(self.header.load(Relaxed)) == high(header)
            {
                return Search::Hit(way, Value(value));
            }
        }
        Search::Miss { strays: false }
    }

    /// All seven compared without a branch: which of them holds the key cannot be predicted.
    #[inline]
    fn way_of(&self, key: Key) -> Option<usize> {
        let mut ways = 0;
        for (way, held) in self.keys.iter().enumerate() {
            ways |= u32::from(held.load(Acquire) == key.0) << way;
        }
        (ways != 0).then(|| ways.trailing_zeros() as usize)
    }

    fn free(&self) -> usize {
        self.keys
            .iter()
            .filter(|key| key.load(Relaxed) == 0)
            .count()
    }
}

#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    secret: [u64; 4],
}

/// What every question may ask.
impl Table {
    /// Room for `entries` entries at half load.
    pub(super) fn new(entries: u32, seed: u64) -> Self {
        let buckets = (entries as usize * 2).div_ceil(WAYS).max(LEAST_BUCKETS);
        Self::with_buckets(buckets, seed)
    }

    pub(super) fn with_buckets(buckets: usize, seed: u64) -> Self {
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            secret: spread(seed),
        }
    }

    /// How many places there are.
    pub(super) fn places(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// One more than the highest [`Place::number`].
    pub(super) fn numbers(&self) -> usize {
        self.buckets.len() * STRIDE
    }

    /// Where `key` is, and its value.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<(Place, Value)> {
        let hash = self.hash(key);
        let first = self.first(hash);
        match self.buckets[first].find(key) {
            Search::Hit(way, value) => Some((Place::at(first, way), value)),
            Search::Miss { strays: false } => None,
            Search::Miss { strays: true } => self.find_stray(hash, key),
        }
    }

    fn find_stray(&self, hash: u64, key: Key) -> Option<(Place, Value)> {
        let second = self.second(hash);
        match self.buckets[second].find(key) {
            Search::Hit(way, value) => Some((Place::at(second, way), value)),
            Search::Miss { .. } => None,
        }
    }

    /// Touches both lines of the first bucket. Nothing waits for the loads, so those of a batch run
    /// side by side.
    #[inline]
    pub(super) fn warm(&self, key: Key) {
        let bucket = &self.buckets[self.first(self.hash(key))];
        black_box(bucket.header.load(Relaxed));
        black_box(bucket.spare.load(Relaxed));
    }

    /// Notes that the entry at `place`, whose value was `old`, was heard from at `now`. False when
    /// the value is another one by now.
    #[inline]
    pub(super) fn refresh(&self, place: Place, old: Value, now: Second) -> bool {
        let new = Value::learned(old.port(), now);
        // A release, as the value may be all that a reader sees of its place's last change.
        let value = &self.buckets[place.bucket()].values[place.way()];
        value
            .compare_exchange(old.0, new.0, Release, Relaxed)
            .is_ok()
    }

    /// What stands at `place`; `None` when it is free, or changes hands at this moment.
    pub(super) fn read(&self, place: Place) -> Option<(Key, Value)> {
        let bucket = &self.buckets[place.bucket()];
        let header = bucket.header.load(Acquire);
        let key = bucket.keys[place.way()].load(Acquire);
        let value = bucket.values[place.way()].load(Acquire);
        let same = bucket.keys[place.way()].load(Acquire) == key
            && high(bucket.header.load(Relaxed)) == high(header);
        (key != 0 && same).then_some((Key(key), Value(value)))
    }

    #[inline]
    fn first(&self, hash: u64) -> usize {
        scale(low(hash), self.buckets.len())
    }

    fn second(&self, hash: u64) -> usize {
        scale(high(hash), self.buckets.len())
    }

    /// Two folded multiplications with secret words. Without the secret nobody can tell which keys
    /// meet; with one multiplication, evenly spaced keys would still meet more often than by chance.
    #[inline]
    fn hash(&self, key: Key) -> u64 {
        let [a, b, c, d] = self.secret;
        fold(fold(key.0 ^ a, b) ^ c, d)
    }
}

/// What only the holder of the ledger may ask and do.
impl Table {
    /// The key at `place`, which is held.
    pub(super) fn key(&self, place: Place) -> Key {
        Key(self.buckets[place.bucket()].keys[place.way()].load(Relaxed))
    }

    /// The value at `place`, which is held. Only its second can change before the next look.
    pub(super) fn value(&self, place: Place) -> Value {
        Value(self.buckets[place.bucket()].values[place.way()].load(Relaxed))
    }

    /// Where `key` would stand, or `None` when both of its buckets are full.
    pub(super) fn vacancy(&self, key: Key) -> Option<Place> {
        let hash = self.hash(key);
        let (first, second) = (self.first(hash), self.second(hash));
        let (room, other) = (self.buckets[first].free(), self.buckets[second].free());
        let bucket = if room > WAYS - HOME || room >= other {
            first
        } else {
            second
        };
        let way = self.buckets[bucket]
            .keys
            .iter()
            .position(|key| key.load(Relaxed) == 0)?;
        Some(Place::at(bucket, way))
    }

    /// Every place where `key` may stand.
    pub(super) fn candidates(&self, key: Key) -> impl Iterator<Item = Place> {
        let hash = self.hash(key);
        [self.first(hash), self.second(hash)]
            .into_iter()
            .flat_map(|bucket| (0..WAYS).map(move |way| Place::at(bucket, way)))
    }

    /// Puts `key` into the free `place`.
    pub(super) fn occupy(&self, place: Place, key: Key, value: Value) {
        self.stray(place, key, 1);
        let bucket = &self.buckets[place.bucket()];
        let raised = bucket.header.load(Relaxed).wrapping_add(1 << 32);
        bucket.header.store(raised, Release);
        bucket.values[place.way()].store(value.0, Release);
        bucket.keys[place.way()].store(key.0, Release);
    }

    /// Gives the key at `place` another value.
    pub(super) fn set(&self, place: Place, value: Value) {
        self.buckets[place.bucket()].values[place.way()].store(value.0, Release);
    }

    /// Frees `place`.
    pub(super) fn vacate(&self, place: Place) {
        self.stray(place, self.key(place), u64::MAX);
        self.buckets[place.bucket()].keys[place.way()].store(0, Release);
    }

    /// Adds `change` to the strays of the first bucket of `key`, if `place` is not in it.
    fn stray(&self, place: Place, key: Key, change: u64) {
        let home = self.first(self.hash(key));
        if home == place.bucket() {
            return;
        }
        let header = &self.buckets[home].header;
        // The low half is below 2^32 - 1 and above 0 where it is lowered: no borrow, no carry.
        header.store(header.load(Relaxed).wrapping_add(change), Release);
    }
}

/// Below this a few unlucky keys could fill two buckets of a small table; it costs 8 KiB.
const LEAST_BUCKETS: usize = 64;

/// Four secret words from one (splitmix64).
fn spread(seed: u64) -> [u64; 4] {
    let mut state = seed;
    std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
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
    #[expect(clippy::cast_possible_truncation, reason = "below len")]
    let index = (u64::from(hash) * len as u64 >> 32) as usize;
    index
}

#[inline]
fn low(word: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
    let half = word as u32;
    half
}

#[inline]
fn high(word: u64) -> u32 {
    low(word >> 32)
}
