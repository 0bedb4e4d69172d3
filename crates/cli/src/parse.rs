//! Words on the command line that stand for more than one value.

use api::{Lock, StormLimits, VlanId};
use std::net::IpAddr;
use std::str::FromStr;

/// VLANs as `10,20-29`, or `all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vlans(pub(crate) Vec<VlanId>);

impl FromStr for Vlans {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(Vec::new()));
        }
        let mut vlans = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let bound = |text: &str| {
                text.parse::<VlanId>()
                    .map(VlanId::get)
                    .map_err(|error| error.to_string())
            };
            let (first, last) = (bound(first)?, bound(last)?);
            if first > last {
                return Err(format!("`{part}` runs backwards"));
            }
            vlans.extend((first..=last).filter_map(|vid| VlanId::try_from(vid).ok()));
        }
        vlans.sort_unstable();
        vlans.dedup();
        Ok(Self(vlans))
    }
}

/// VLANs the way [`Vlans`] reads them.
pub(crate) fn vlans(vlans: &[VlanId]) -> String {
    if vlans.is_empty() {
        return "all".to_owned();
    }
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for vid in vlans.iter().map(|vlan| vlan.get()) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == vid => *last = vid,
            Some(_) | None => runs.push((vid, vid)),
        }
    }
    let run = |(first, last): (u16, u16)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

/// A lock as `MAC[,IP...]`.
pub(crate) fn lock(text: &str) -> Result<Lock, String> {
    let mut words = text.split(',');
    let mac = words
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|error: api::ParseWordError| error.to_string())?;
    let ip = |word: &str| {
        word.parse::<IpAddr>()
            .map_err(|_| format!("`{word}` is not an IP address"))
    };
    Ok(Lock {
        mac,
        ips: words.map(ip).collect::<Result<_, _>>()?,
    })
}

/// Limits as `broadcast=100,multicast=100,unknown=100`, or `none`.
pub(crate) fn storm(text: &str) -> Result<StormLimits, String> {
    let mut limits = StormLimits::default();
    if text == "none" {
        return Ok(limits);
    }
    for part in text.split(',') {
        let (kind, rate) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is not KIND=FRAMES, as in broadcast=100"))?;
        let rate = rate
            .parse()
            .map_err(|_| format!("`{rate}` is not a number of frames a second, 0 to 100000000"))?;
        match kind {
            "broadcast" => limits.broadcast = Some(rate),
            "multicast" => limits.multicast = Some(rate),
            "unknown" => limits.unknown_unicast = Some(rate),
            other => {
                return Err(format!(
                    "`{other}` is not limited; broadcast, multicast and unknown are"
                ));
            }
        }
    }
    limits.check().map_err(|error| error.to_string())?;
    Ok(limits)
}

/// Limits the way [`storm`] reads them.
pub(crate) fn storm_text(limits: &StormLimits) -> String {
    let named = [
        ("broadcast", limits.broadcast),
        ("multicast", limits.multicast),
        ("unknown", limits.unknown_unicast),
    ];
    let set: Vec<String> = named
        .into_iter()
        .filter_map(|(kind, rate)| Some(format!("{kind}={}", rate?)))
        .collect();
    if set.is_empty() {
        "none".to_owned()
    } else {
        set.join(",")
    }
}

/// A label as `KEY=VALUE`, or `KEY` alone.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        Err(format!("`{text}` is not KEY=VALUE"))
    } else {
        Ok((key.to_owned(), value.to_owned()))
    }
}

/// One end of a flow: `10.1.0.2`, `10.1.0.2:80`, `2001:db8::2` or `[2001:db8::2]:80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        let end: Result<std::net::SocketAddr, _> = text.parse();
        end.map(|end| Self {
            ip: end.ip(),
            port: Some(end.port()),
        })
        .map_err(|_| format!("`{text}` is neither IP nor IP:PORT (for IPv6 [IP]:PORT)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_are_lists_and_ranges() {
        let text = |text: &str| text.parse::<Vlans>().map(|list| vlans(&list.0));
        assert_eq!(text("10,20-22,21"), Ok("10,20-22".into()));
        assert_eq!(text("all"), Ok("all".into()));
        assert_eq!(text("3-1"), Err("`3-1` runs backwards".into()));
        assert_eq!(
            text("1-4095"),
            Err("VLAN 4095 does not exist: allowed are 1 to 4094".into())
        );
        assert_eq!(text("1-4094"), Ok("1-4094".into()));
        assert!(text("").is_err() && text("1,").is_err() && text("a").is_err());
    }

    #[test]
    fn locks_and_limits() {
        let read = lock("02:00:00:00:00:0a,10.1.0.2,2001:db8::2").unwrap();
        assert_eq!(
            (read.mac.to_string(), read.ips.len()),
            ("02:00:00:00:00:0a".into(), 2)
        );
        assert_eq!(
            lock("02:00:00:00:00:0a,x").unwrap_err(),
            "`x` is not an IP address"
        );
        assert!(lock("").is_err());

        assert_eq!(
            storm("broadcast=5,unknown=0").map(|limits| storm_text(&limits)),
            Ok("broadcast=5,unknown=0".into())
        );
        assert_eq!(
            storm("none").map(|limits| storm_text(&limits)),
            Ok("none".into())
        );
        assert_eq!(
            storm("unicast=1").unwrap_err(),
            "`unicast` is not limited; broadcast, multicast and unknown are"
        );
        assert_eq!(
            storm("multicast=100000001").unwrap_err(),
            "storm.multicast is 100000001; allowed are 0 to 100000000"
        );
        assert!(storm("").is_err() && storm("broadcast=x").is_err());
    }

    #[test]
    fn an_end_is_an_address_with_or_without_a_port() {
        let end = |text: &str| {
            text.parse::<End>()
                .map(|end| (end.ip.to_string(), end.port))
        };
        assert_eq!(end("10.1.0.2"), Ok(("10.1.0.2".into(), None)));
        assert_eq!(end("10.1.0.2:80"), Ok(("10.1.0.2".into(), Some(80))));
        assert_eq!(end("2001:db8::2"), Ok(("2001:db8::2".into(), None)));
        assert_eq!(
            end("[2001:db8::2]:80"),
            Ok(("2001:db8::2".into(), Some(80)))
        );
        assert!(end("10.1.0.2:99999").is_err() && end("web:80").is_err());
    }

    #[test]
    fn a_label_has_a_key() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(label("a"), Ok(("a".into(), String::new())));
        assert!(label("=b").is_err());
    }
}
