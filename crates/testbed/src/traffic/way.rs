//! Where a server listens, and where its client looks for it: two things where ports are published.

use std::net::{IpAddr, SocketAddr};

/// The way from a client to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Where the server listens; port 0 for any.
    pub listen: SocketAddr,
    /// Where the client connects to: whatever leads there. Port 0 is the server's own.
    pub to: SocketAddr,
}

impl Way {
    /// Returns where the client connects to, once the server has its port.
    pub(super) fn to_port(self, port: u16) -> SocketAddr {
        match self.to.port() {
            0 => SocketAddr::new(self.to.ip(), port),
            _ => self.to,
        }
    }
}

/// To an address of the server's, at any port.
impl From<IpAddr> for Way {
    fn from(ip: IpAddr) -> Self {
        let at = SocketAddr::new(ip, 0);
        Self { listen: at, to: at }
    }
}
