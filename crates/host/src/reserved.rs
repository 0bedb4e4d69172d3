//! Ports that sockets of the host keep out of.
//!
//! Linux gives a socket that asks for any port one of `ip_local_port_range`, and not one that is
//! listed in `ip_local_reserved_ports`. The ports that containers' connections leave from are added
//! to that list while there is an uplink, or a connection of the host's own would take one of them
//! and never see its answers. What was on the list before stays on it.

use crate::{Error, sysctl};
use std::fmt;
use std::ops::RangeInclusive;

/// Puts `wanted` on the list of the calling thread's namespace, takes what is left of `before`
/// (what an earlier call added) off it, and answers what it now holds because of us. What `others`
/// of us have added stays on it, and is ours too where it is wanted.
pub(crate) fn reserve(
    wanted: &PortSet,
    before: &PortSet,
    others: &PortSet,
) -> Result<PortSet, Error> {
    let listed = PortSet::parse(&sysctl::read(sysctl::RESERVED_PORTS)?);
    let foreign = listed.minus(before).minus(others);
    let list = foreign.plus(others).plus(wanted);
    if list != listed {
        sysctl::write(sysctl::RESERVED_PORTS, &list.to_string())?;
    }
    Ok(wanted.minus(&foreign))
}

/// A set of ports: a bit each.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PortSet(Vec<u64>);

const WORDS: usize = (1 << 16) / 64;

impl Default for PortSet {
    fn default() -> Self {
        Self(vec![0; WORDS])
    }
}

impl PortSet {
    pub(crate) fn of(ranges: &[RangeInclusive<u16>]) -> Self {
        let mut set = Self::default();
        for range in ranges {
            for port in range.clone() {
                set.0[usize::from(port / 64)] |= 1 << (port % 64);
            }
        }
        set
    }

    /// Reads what the kernel prints: `8080,9000-9010`. What is no range is passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let ranges = text.trim().split(',').filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
        });
        Self::of(&ranges.collect::<Vec<_>>())
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(a, b)| f(*a, *b))
                .collect(),
        )
    }

    pub(crate) fn ranges(&self) -> Vec<RangeInclusive<u16>> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for port in (0..=u16::MAX).filter(|port| self.contains(*port)) {
            match ranges.last_mut() {
                Some(last) if u32::from(*last.end()) + 1 == u32::from(port) => {
                    *last = *last.start()..=port;
                }
                Some(_) | None => ranges.push(port..=port),
            }
        }
        ranges
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port / 64)] >> (port % 64) & 1 == 1
    }
}

/// As the kernel reads and prints it.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.ranges().into_iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_is_read_as_it_was_written(
            ranges in prop::collection::vec((any::<u16>(), 0u16..50), 0..6)
        ) {
            let ranges: Vec<_> = ranges.iter().map(|&(a, n)| a..=a.saturating_add(n)).collect();
            let set = PortSet::of(&ranges);
            prop_assert_eq!(&PortSet::parse(&set.to_string()), &set);
            prop_assert_eq!(PortSet::of(&set.ranges()), set);
        }
    }
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use testbed::Namespace;

    fn inside(list: &str, test: impl FnOnce() + Send) {
        Namespace::new().unwrap().run(|| {
            sysctl::write(sysctl::RESERVED_PORTS, list).unwrap();
            test();
        });
    }

    fn listed() -> String {
        sysctl::read(sysctl::RESERVED_PORTS)
            .unwrap()
            .trim()
            .to_owned()
    }

    #[test]
    fn what_was_reserved_before_stays_so_and_what_was_added_is_taken_back() {
        inside("8080,50000-50010", || {
            let none = PortSet::default();
            let added = reserve(&PortSet::of(&[49_152..=65_535]), &none, &none).unwrap();
            assert_eq!(added.to_string(), "49152-49999,50011-65535");
            assert_eq!(listed(), "8080,49152-65535");

            let moved = reserve(&PortSet::of(&[50_005..=50_020]), &added, &none).unwrap();
            assert_eq!(moved.to_string(), "50011-50020");
            assert_eq!(listed(), "8080,50000-50020");

            let nothing = reserve(&none, &moved, &none).unwrap();
            assert!(nothing.is_empty());
            assert_eq!(listed(), "8080,50000-50010");
        });
    }

    #[test]
    fn an_empty_list_is_empty_again() {
        inside("", || {
            let none = PortSet::default();
            let ends = PortSet::of(&[1..=1, 65_535..=65_535]);
            let added = reserve(&ends, &none, &none).unwrap();
            assert_eq!(listed(), "1,65535");
            reserve(&none, &added, &none).unwrap();
            assert_eq!(listed(), "");
        });
    }

    #[test]
    fn what_two_of_us_want_goes_with_the_second() {
        inside("50005", || {
            let none = PortSet::default();
            let first = reserve(&PortSet::of(&[50_000..=50_010]), &none, &none).unwrap();
            let second = reserve(&PortSet::of(&[50_003..=50_020]), &none, &first).unwrap();
            assert_eq!(listed(), "50000-50020");
            reserve(&none, &first, &second).unwrap();
            assert_eq!(listed(), "50003-50020");
            reserve(&none, &second, &none).unwrap();
            assert_eq!(listed(), "50005");
        });
    }
}
