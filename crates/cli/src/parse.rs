//! Words on the command line that stand for more than one value.

use api::{Lock, Rate, StormLimits};
use clap::builder::RangedI64ValueParser;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A number of `range`.
pub(crate) fn within<T>(range: &RangeInclusive<T>) -> RangedI64ValueParser<T>
where
    T: Copy + Into<i64> + TryFrom<i64> + Clone + Send + Sync,
    <T as TryFrom<i64>>::Error: std::error::Error + Send + Sync,
{
    RangedI64ValueParser::new().range((*range.start()).into()..=(*range.end()).into())
}

/// A lock as `MAC[,IP...]`.
pub(crate) fn lock(text: &str) -> Result<Lock, String> {
    let mut words = text.split(',');
    let mac = words
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|error: api::ParseMacError| error.to_string())?;
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

/// Bits a second as `tc` takes them: `100mbit`, `64kbit`, `1gbit`, or a number of bits.
pub(crate) fn bits(text: &str) -> Result<u64, String> {
    let number = scaled(text.strip_suffix("bit").unwrap_or(text));
    let wrong = || format!("`{text}` is no rate: bits a second are meant, as in 64kbit or 100mbit");
    let bits = number.ok_or_else(wrong)?;
    let rate = Rate {
        bits_per_second: Some(bits),
        packets_per_second: None,
    };
    rate.check().map_err(|error| error.to_string())?;
    Ok(bits)
}

/// Packets a second: `10k`, `1m`, or a number.
pub(crate) fn packets(text: &str) -> Result<u32, String> {
    let number = scaled(text).and_then(|number| u32::try_from(number).ok());
    let wrong = || format!("`{text}` is no rate: packets a second are meant, as in 500 or 10k");
    let packets = number.ok_or_else(wrong)?;
    let rate = Rate {
        bits_per_second: None,
        packets_per_second: Some(packets),
    };
    rate.check().map_err(|error| error.to_string())?;
    Ok(packets)
}

/// A number with k, m or g for its thousands, millions or billions.
fn scaled(text: &str) -> Option<u64> {
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'k') => (&text[..at], 1_000),
        (at, 'm') => (&text[..at], 1_000_000),
        (at, 'g') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A rate in words.
pub(crate) fn rate_text(rate: &Rate) -> String {
    let bits = rate.bits_per_second.map(|n| format!("{n} bits/s"));
    let packets = rate.packets_per_second.map(|n| format!("{n} packets/s"));
    let words: Vec<String> = bits.into_iter().chain(packets).collect();
    words.join(", ")
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
    fn rates_have_units() {
        for (text, wanted) in [
            ("100mbit", 100_000_000),
            ("64kbit", 64_000),
            ("1gbit", 1_000_000_000),
            ("9600", 9600),
            ("9600bit", 9600),
            ("2m", 2_000_000),
        ] {
            assert_eq!(bits(text), Ok(wanted), "{text}");
        }
        assert_eq!((packets("10k"), packets("7")), (Ok(10_000), Ok(7)));
        for wrong in ["", "bit", "k", "-1k", "1tbit", "99999999999999999999g", "ä"] {
            assert!(bits(wrong).unwrap_err().contains("is no rate"), "{wrong}");
            assert!(packets(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            bits("1").unwrap_err(),
            "rate.bits_per_second is 1; allowed are 1200 to 34000000000"
        );
        assert_eq!(
            packets("0").unwrap_err(),
            "rate.packets_per_second is 0; allowed are 1 to 100000000"
        );
    }

    #[test]
    fn a_label_has_a_key() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(label("a"), Ok(("a".into(), String::new())));
        assert!(label("=b").is_err());
    }
}
