//! Words about connections that the NAT follows, and about neighbours of the router.

words! {
    /// How far a connection has come.
    pub enum NatState ("state of a connection") {
        /// Only one side has spoken.
        Opening = "opening",
        /// Both have.
        Established = "established",
        /// It was closed or reset, and is kept for stragglers.
        Closing = "closing",
    }
}

words! {
    /// An event of a connection.
    pub enum NatChange ("event") {
        /// Its first packet came.
        New = "new",
        /// It came to another state.
        Update = "update",
        /// It was forgotten.
        Destroy = "destroy",
    }
}

words! {
    /// How sure the MAC address of a neighbour is.
    pub enum NeighbourState ("state of a neighbour") {
        /// It is being asked for.
        Incomplete = "incomplete",
        /// It answered a short while ago.
        Reachable = "reachable",
        /// It was not heard of for a while, or spoke without being asked.
        Stale = "stale",
        /// It is in use, and asked again.
        Probe = "probe",
        /// It did not answer.
        Failed = "failed",
    }
}
