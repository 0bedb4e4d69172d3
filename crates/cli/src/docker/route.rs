//! The interface of the default route, out of the kernel's table of IPv4 routes, `/proc/net/route`
//! (`proc_pid_net(5)`): a header, then a line a route, numbers in hexadecimal.

/// The interface of the default route with the lowest metric; `None` without one.
pub(super) fn default_interface(table: &str) -> Option<String> {
    let routes = table.lines().skip(1).filter_map(default_route);
    routes
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, interface)| interface.to_owned())
}

/// Metric and interface, when the line is a default route that is up and no refusal.
fn default_route(line: &str) -> Option<(u32, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, _, flags, _, _, metric, mask, ..] = fields[..] else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let usable = flags & (UP | REJECT) == UP;
    let everywhere = [destination, mask].iter().all(|word| *word == "00000000");
    (usable && everywhere).then_some(())?;
    Some((metric.parse().ok()?, interface))
}

/// `RTF_UP`, `RTF_REJECT` of `<linux/route.h>`.
const UP: u32 = 0x0001;
const REJECT: u32 = 0x0200;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn of(routes: &[&str]) -> Option<String> {
        default_interface(&(HEADER.to_owned() + &routes.join("\n")))
    }

    #[test]
    fn the_lowest_metric_wins() {
        let wlan = "wlan0\t00000000\t0164A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0";
        let nic = "eth0\t00000000\t016433C6\t0003\t0\t0\t100\t00000000\t0\t0\t0";
        assert_eq!(of(&[wlan, nic]).as_deref(), Some("eth0"));
        assert_eq!(of(&[nic, wlan]).as_deref(), Some("eth0"));
    }

    #[test]
    fn other_routes_are_none() {
        for line in [
            "eth0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0", // a subnet
            "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0", // half of all addresses
            "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0",    // unreachable
            "eth0\t00000000\t016433C6\t0002\t0\t0\t0\t00000000\t0\t0\t0", // down
            "eth0\t00000000",
        ] {
            assert_eq!(of(&[line]), None, "{line}");
        }
        assert_eq!(default_interface(""), None);
    }
}
