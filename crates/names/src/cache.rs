//! Answers from outside, remembered: bounded by entries and by bytes.
//!
//! Two generations of half the bounds each. What is asked for moves to the young one; when that is
//! full it becomes the old one, and what nobody asked for since is forgotten at once. So a client
//! that asks for a thousand names of its own a second cannot push out the names that others ask for
//! in the meantime, and nothing here takes longer when it is full.
//!
//! Answers are kept as bytes: what they cost is what they weigh.
//!
//! Pure: `now` is passed in.

use crate::message::Question;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that an entry costs beside its message and its name: key, tables and counts, roundly.
const OVERHEAD: usize = 256;

/// The answers.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Of one generation.
    max_entries: usize,
    /// Of one generation.
    max_bytes: usize,
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    entries: HashMap<Question, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    message: Arc<[u8]>,
    stored: Instant,
    lifetime: Duration,
}

/// An answer that is still good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) message: Arc<[u8]>,
    /// Seconds since it came.
    pub(crate) age: u32,
}

impl Cache {
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            max_entries: max_entries / 2,
            max_bytes: max_bytes / 2,
            young: Generation::default(),
            old: Generation::default(),
        }
    }

    /// The answer to `question`, if one is remembered and still good.
    pub(crate) fn get(&mut self, question: &Question, now: Instant) -> Option<Hit> {
        if let Some(entry) = self.young.entries.get(question) {
            return entry.hit(now);
        }
        let entry = self.old.remove(question)?;
        let hit = entry.hit(now)?;
        self.put(question.clone(), entry);
        Some(hit)
    }

    /// Remembers an answer for `lifetime` from `now`.
    pub(crate) fn insert(
        &mut self,
        question: Question,
        message: Arc<[u8]>,
        lifetime: Duration,
        now: Instant,
    ) {
        self.young.remove(&question);
        self.old.remove(&question);
        let entry = Entry {
            message,
            stored: now,
            lifetime,
        };
        if !lifetime.is_zero() && entry.cost(&question) <= self.max_bytes && self.max_entries > 0 {
            self.put(question, entry);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.young = Generation::default();
        self.old = Generation::default();
    }

    fn put(&mut self, question: Question, entry: Entry) {
        let bytes = self.young.bytes + entry.cost(&question);
        if self.young.entries.len() >= self.max_entries || bytes > self.max_bytes {
            self.old = mem::take(&mut self.young);
        }
        self.young.put(question, entry);
    }
}

impl Generation {
    fn put(&mut self, question: Question, entry: Entry) {
        self.bytes += entry.cost(&question);
        self.entries.insert(question, entry);
    }

    fn remove(&mut self, question: &Question) -> Option<Entry> {
        let entry = self.entries.remove(question)?;
        self.bytes -= entry.cost(question);
        Some(entry)
    }
}

impl Entry {
    fn cost(&self, question: &Question) -> usize {
        OVERHEAD + self.message.len() + question.query.name.len()
    }

    fn hit(&self, now: Instant) -> Option<Hit> {
        let age = now.saturating_duration_since(self.stored);
        (age < self.lifetime).then(|| Hit {
            message: Arc::clone(&self.message),
            age: u32::try_from(age.as_secs()).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;
    use hickory_proto::rr::{Name, RecordType};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn question(number: u16) -> Question {
        let name = Name::from_ascii(format!("n{number}.example.")).unwrap();
        Question {
            query: Query::query(name, RecordType::A),
            dnssec_ok: false,
            checking_disabled: false,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_asked_for_survives_a_flood() {
        let mut cache = Cache::new(100, 1 << 20);
        let start = Instant::now();
        cache.insert(question(0), Arc::from([0]), SECOND, start);
        for number in 1..10_000 {
            cache.insert(question(number), Arc::from([1]), SECOND, start);
            if number % 40 == 0 {
                assert!(cache.get(&question(0), start).is_some(), "{number}");
            }
        }
        assert_eq!(cache.get(&question(1), start), None);
    }

    #[test]
    fn answers_age_and_end() {
        let mut cache = Cache::new(100, 1 << 20);
        let start = Instant::now();
        cache.insert(question(1), Arc::from([7]), SECOND * 5, start);
        let upper = Question {
            query: Query::query(Name::from_ascii("N1.Example.").unwrap(), RecordType::A),
            ..question(1)
        };
        let hit = cache.get(&upper, start + SECOND * 3).unwrap();
        assert_eq!((&*hit.message, hit.age), (&[7][..], 3));
        assert_eq!(cache.get(&question(1), start + SECOND * 5), None);
        let other = Question {
            dnssec_ok: true,
            ..question(1)
        };
        assert_eq!(cache.get(&other, start), None);
        cache.clear();
        assert_eq!(cache.get(&question(1), start), None);
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_never_wrong(
            steps in vec((0..40_u16, 0..800_usize, 0..4_u64, any::<bool>()), 1..400),
        ) {
            const ENTRIES: usize = 16;
            const BYTES: usize = 8192;
            let mut cache = Cache::new(ENTRIES, BYTES);
            let mut model = HashMap::new();
            let mut now = Instant::now();
            for (number, length, wait, is_insert) in steps {
                now += SECOND * u32::try_from(wait).unwrap() / 2;
                let question = question(number);
                if is_insert {
                    let lifetime = SECOND * u32::try_from(wait).unwrap();
                    cache.insert(question, vec![1; length].into(), lifetime, now);
                    model.insert(number, (length, now + lifetime));
                } else if let Some(hit) = cache.get(&question, now) {
                    let (length, end) = model[&number];
                    prop_assert_eq!(hit.message.len(), length);
                    prop_assert!(now < end);
                }
                let generations = [&cache.young, &cache.old];
                let entries: usize = generations.iter().map(|one| one.entries.len()).sum();
                let bytes: usize = generations.iter().map(|one| one.bytes).sum();
                let weighed: usize = generations.iter().flat_map(|one| &one.entries)
                    .map(|(question, entry)| entry.cost(question)).sum();
                prop_assert!(entries <= ENTRIES && bytes <= BYTES);
                prop_assert_eq!(bytes, weighed);
            }
        }
    }
}
