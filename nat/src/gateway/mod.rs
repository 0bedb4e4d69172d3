//! What the router says and hears on each link: ARP, neighbour discovery, echo, ICMP errors,
//! router advertisements, DHCP.
