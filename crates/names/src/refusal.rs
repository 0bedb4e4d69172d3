//! The one closed list of reasons for which a query is not answered as it was asked.
//!
//! Codes are not part of any format: labels are what tables and metrics show.

use hickory_proto::op::ResponseCode;

macro_rules! refusals {
    ($($name:ident $code:ident $label:literal $doc:literal)+) => {
        /// Why a query was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Refusal {
            $(#[doc = $doc] $name,)+
        }

        impl Refusal {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The short name used in tables, JSON and metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// One sentence for a person who has never read this code.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$name => $doc),+ }
            }

            /// Returns what the client is told, when it is told anything.
            pub(crate) const fn code(self) -> ResponseCode {
                match self { $(Self::$name => ResponseCode::$code),+ }
            }
        }
    };
}

refusals! {
    Malformed        FormErr "malformed"         "The message is not one well-formed query."
    Opcode           NotImp  "opcode"            "The operation is none but a query (RFC 1035 section 4.1.1)."
    EdnsVersion      BADVERS "edns_version"      "The client speaks a later EDNS than version 0 (RFC 6891 section 6.1.3)."
    Class            Refused "class"             "The class is not IN."
    AnyType          Refused "any_type"          "All records of a name at once are given to nobody (RFC 8482)."
    MetaType         Refused "meta_type"         "Zone transfers and other meta-types are not served (RFC 6895 section 3.1)."
    NoRecursion      Refused "no_recursion"      "The name is not ours, and recursion was not desired: the cache is not for snooping."
    InternalNetwork  Refused "internal_network"  "The name is not ours, and the client's networks are internal: it may ask nobody outside."
    ClientRate       Refused "client_rate"       "The client asks faster than its share; it gets no answer."
    ClientInFlight   Refused "client_in_flight"  "Too many questions of the client wait for an answer from outside."
    TotalInFlight    Refused "total_in_flight"   "Too many questions of all clients wait for an answer from outside."
    ClientTcp        Refused "client_tcp"        "The client has too many TCP connections; a new one is closed."
    TotalTcp         Refused "total_tcp"         "There are too many TCP connections; a new one is closed."
}

impl Refusal {
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn labels_are_distinct() {
        let labels: BTreeSet<_> = Refusal::ALL.iter().map(|one| one.label()).collect();
        assert_eq!(labels.len(), Refusal::COUNT);
    }
}
