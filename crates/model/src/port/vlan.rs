//! How a port treats VLAN tags (IEEE 802.1Q, 802.1ad).

use crate::{Invalid, VlanId};
use std::fmt;
use std::str::FromStr;

/// How a port treats VLAN tags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "serde",
    serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum VlanMode {
    /// Untagged frames belong to one VLAN; tagged ones are refused.
    Access {
        /// The VLAN.
        vid: VlanId,
    },
    /// Tagged frames of several VLANs.
    Trunk {
        /// The VLANs it carries; empty is all 4094.
        #[cfg_attr(feature = "serde", serde(default))]
        #[cfg_attr(feature = "schema", schema(value_type = Vec<VlanId>))]
        allowed: VlanSet,
        /// The VLAN of untagged frames. `null`: they are refused.
        #[cfg_attr(feature = "serde", serde(default))]
        native: Option<VlanId>,
        /// Whether frames of the native VLAN leave with a tag.
        #[cfg_attr(feature = "serde", serde(default))]
        native_tagged: bool,
    },
    /// Wraps each frame that arrives, tagged or not, in a service tag (802.1ad).
    Dot1qTunnel {
        /// The service VLAN.
        vid: VlanId,
    },
}

impl VlanMode {
    /// The VLAN of frames that arrive without a tag; `None` where they are refused.
    #[must_use]
    #[inline]
    pub const fn untagged(&self) -> Option<VlanId> {
        match self {
            Self::Access { vid } | Self::Dot1qTunnel { vid } => Some(*vid),
            Self::Trunk { native, .. } => *native,
        }
    }
}

/// VLANs, at least one: `10,20-29`, or `all`. In JSON a list, which is empty for all.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Vec<VlanId>", into = "Vec<VlanId>"))]
pub struct VlanSet(Box<[u64; 64]>);

impl VlanSet {
    /// The VLANs that `vlans` lists; every one if it is empty.
    #[must_use]
    pub fn listed(vlans: &[VlanId]) -> Self {
        if vlans.is_empty() {
            return (VlanId::MIN..=VlanId::MAX)
                .filter_map(VlanId::new)
                .fold(Self::none(), Self::with);
        }
        vlans.iter().copied().fold(Self::none(), Self::with)
    }

    /// Every VLAN, 1 to 4094.
    #[must_use]
    pub fn all() -> Self {
        Self::listed(&[])
    }

    /// The VLANs of runs of neighbours, each the first and the last of them.
    ///
    /// # Errors
    /// There is no run, or one runs backwards.
    pub fn of_runs(runs: &[(VlanId, VlanId)]) -> Result<Self, Invalid> {
        if runs.is_empty() {
            return Err(Invalid::Conflict("a trunk carries no VLAN".to_owned()));
        }
        let mut set = Self::none();
        for (first, last) in runs {
            if first > last {
                return Err(Invalid::Conflict(format!(
                    "`{first}-{last}` runs backwards"
                )));
            }
            set = (first.get()..=last.get())
                .filter_map(VlanId::new)
                .fold(set, Self::with);
        }
        Ok(set)
    }

    /// Its runs of neighbours, rising.
    #[must_use]
    pub fn runs(&self) -> Vec<(VlanId, VlanId)> {
        let mut runs: Vec<(VlanId, VlanId)> = Vec::new();
        for vlan in self.iter() {
            match runs.last_mut() {
                Some((_, last)) if last.get() + 1 == vlan.get() => *last = vlan,
                Some(_) | None => runs.push((vlan, vlan)),
            }
        }
        runs
    }

    /// Returns whether `vlan` is in the set.
    #[must_use]
    #[inline]
    pub fn contains(&self, vlan: VlanId) -> bool {
        let vid = vlan.get();
        self.0[usize::from(vid / 64)] & (1 << (vid % 64)) != 0
    }

    /// The VLANs in the set, rising.
    pub fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        (VlanId::MIN..=VlanId::MAX)
            .filter_map(VlanId::new)
            .filter(|&v| self.contains(v))
    }

    fn none() -> Self {
        Self(Box::new([0; 64]))
    }

    fn with(mut self, vlan: VlanId) -> Self {
        let vid = vlan.get();
        self.0[usize::from(vid / 64)] |= 1 << (vid % 64);
        self
    }
}

impl Default for VlanSet {
    fn default() -> Self {
        Self::all()
    }
}

impl From<Vec<VlanId>> for VlanSet {
    fn from(vlans: Vec<VlanId>) -> Self {
        Self::listed(&vlans)
    }
}

impl From<VlanSet> for Vec<VlanId> {
    fn from(set: VlanSet) -> Self {
        if set == VlanSet::all() {
            return Self::new();
        }
        set.iter().collect()
    }
}

impl FromStr for VlanSet {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::all());
        }
        let vlan = |text: &str| {
            let vlan = text.parse::<VlanId>();
            vlan.map_err(|error| Invalid::Conflict(error.to_string()))
        };
        let run = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Ok::<_, Invalid>((vlan(first)?, vlan(last)?))
        };
        let runs: Vec<_> = text.split(',').map(run).collect::<Result<_, _>>()?;
        Self::of_runs(&runs)
    }
}

impl fmt::Display for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.pad("all");
        }
        let run = |(first, last): (VlanId, VlanId)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        };
        let runs: Vec<_> = self.runs().into_iter().map(run).collect();
        f.pad(&runs.join(","))
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlan(id: u16) -> VlanId {
        VlanId::new(id).unwrap()
    }

    #[test]
    fn sets_are_read_as_they_are_shown() {
        let text = |text: &str| match text.parse::<VlanSet>() {
            Ok(set) => set.to_string(),
            Err(error) => error.to_string(),
        };
        for (read, shown) in [
            ("10,20-22,21", "10,20-22"),
            ("all", "all"),
            ("1-4094", "all"),
            ("3-1", "`3-1` runs backwards"),
            ("1-4095", "`4095` is not a VLAN: allowed are 1 to 4094"),
        ] {
            assert_eq!(text(read), shown);
        }
        for wrong in ["", "1,", "a"] {
            assert!(wrong.parse::<VlanSet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_list_is_every_vlan() {
        let set = |json: &str| serde_json::from_str::<VlanSet>(json).unwrap();
        assert_eq!(set("[]"), VlanSet::all());
        assert_eq!(VlanSet::all().iter().count(), 4094);
        assert_eq!(serde_json::to_string(&VlanSet::all()).unwrap(), "[]");
        assert_eq!(serde_json::to_string(&set("[20,10]")).unwrap(), "[10,20]");
        assert!(VlanSet::of_runs(&[]).is_err());
    }

    #[test]
    fn a_set_has_what_was_listed() {
        let ends = [1, 63, 64, 4094].map(vlan);
        let set = VlanSet::listed(&ends);
        assert_eq!(set.iter().collect::<Vec<_>>(), ends);
        assert!(!set.contains(vlan(2)) && !set.contains(vlan(4093)));
        assert_eq!(VlanSet::of_runs(&set.runs()), Ok(set));
    }
}
