//! Where frames are carried: by the workers alone, or by the kernel as well.
//!
//! ```text
//!   endpoint ── auto ──> network ── auto ──> daemon ── auto ──> the kernel if it can, else userspace
//!       └─ userspace, kernel: so it is, or it is refused
//! ```
//! The setting is asked when an endpoint gets its interface, and never again: an interface cannot be
//! exchanged under a container that runs.

words! {
    /// A setting of the daemon, of a network and of an endpoint: where an endpoint's frames are carried.
    #[derive(Default)]
    pub enum Datapath ("datapath") {
        /// As the next one says: an endpoint follows its network, a network the daemon, and the daemon
        /// what the kernel can.
        #[default]
        Auto = "auto",
        /// By the workers alone: the interface is a TAP, or is read by a packet socket.
        Userspace = "userspace",
        /// By the workers, and by the kernel what it may repeat of their decisions: the interface is a
        /// veth with a program at its host's end.
        Kernel = "kernel",
    }
}

words! {
    /// A datapath in force.
    #[derive(Default)]
    pub enum DatapathKind ("kind of datapath") {
        /// The workers alone.
        #[default]
        Userspace = "userspace",
        /// The workers and the kernel.
        Kernel = "kernel",
    }
}

impl Datapath {
    /// This setting, or `next` where it says nothing.
    #[must_use]
    pub fn or(self, next: Self) -> Self {
        match self {
            Self::Auto => next,
            Self::Userspace | Self::Kernel => self,
        }
    }

    /// The datapath in force where nobody else says anything; `kernel` tells why the kernel can carry nothing,
    /// if it cannot.
    ///
    /// # Errors
    /// The kernel was asked for by name, and cannot: the reason.
    pub fn resolved<E>(self, kernel: impl FnOnce() -> Result<(), E>) -> Result<DatapathKind, E> {
        match self {
            Self::Userspace => Ok(DatapathKind::Userspace),
            Self::Kernel => kernel().map(|()| DatapathKind::Kernel),
            Self::Auto => Ok(match kernel() {
                Ok(()) => DatapathKind::Kernel,
                Err(_) => DatapathKind::Userspace,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Datapath::{Auto, Kernel, Userspace};
    use super::*;

    #[test]
    fn the_nearest_word_counts_and_only_a_wish_falls_back() {
        const ALONE: Result<DatapathKind, &str> = Ok(DatapathKind::Userspace);
        const BOTH: Result<DatapathKind, &str> = Ok(DatapathKind::Kernel);
        const REFUSED: Result<DatapathKind, &str> = Err("no BPF");
        for (endpoint, network, daemon, can, cannot) in [
            (Auto, Auto, Auto, BOTH, ALONE),
            (Auto, Auto, Userspace, ALONE, ALONE),
            (Auto, Auto, Kernel, BOTH, REFUSED),
            (Auto, Userspace, Auto, ALONE, ALONE),
            (Auto, Userspace, Kernel, ALONE, ALONE),
            (Auto, Kernel, Auto, BOTH, REFUSED),
            (Auto, Kernel, Userspace, BOTH, REFUSED),
            (Userspace, Auto, Kernel, ALONE, ALONE),
            (Userspace, Kernel, Kernel, ALONE, ALONE),
            (Kernel, Auto, Auto, BOTH, REFUSED),
            (Kernel, Userspace, Userspace, BOTH, REFUSED),
        ] {
            let asked = endpoint.or(network).or(daemon);
            let told = [endpoint, network, daemon];
            assert_eq!(asked.resolved(|| Ok(())), can, "{told:?}");
            let without = asked.resolved(|| Err("no BPF"));
            assert_eq!(without, cannot, "{told:?} without BPF");
        }
    }
}
