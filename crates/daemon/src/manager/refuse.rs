//! Refusals of the state, the host and the ports, in the interface's words.

use api::ApiError;
use offload::OffloadError;
use port::PortError;
use std::fmt::Display;
use std::io::ErrorKind;

/// Returns what the state refuses.
pub(super) fn refused(error: &control::Error) -> ApiError {
    use control::Error as E;
    let message = error.to_string();
    match error {
        E::NotFound { .. } | E::NotAdopted(_) => ApiError::not_found(message),
        E::NameTaken { .. }
        | E::SubnetOverlaps { .. }
        | E::AddressTaken { .. }
        | E::MacTaken { .. }
        | E::IfnameTaken { .. }
        | E::EndpointNameTaken { .. }
        | E::PublicationTaken { .. }
        | E::RouteOverlaps { .. }
        | E::StaticElsewhere { .. }
        | E::Adopted { .. } => ApiError::already_exists(message),
        E::NetworkInUse { .. }
        | E::PortOfEndpoint { .. }
        | E::UplinkInUse { .. }
        | E::StaticOfEndpoint { .. }
        | E::Joined { .. }
        | E::EndpointStays { .. } => ApiError::in_use(message),
        E::SubnetFull(..) | E::TableFull(..) | E::PortsFull(_) => ApiError::unavailable(message),
        E::Contradiction(_) => ApiError::internal(message),
        E::Invalid(_)
        | E::NotInNetwork { .. }
        | E::UnreachableGateway { .. }
        | E::BadSubnet { .. }
        | E::NothingToTranslate { .. }
        | E::Prefix(_)
        | E::BadGateway { .. }
        | E::NotInSubnet { .. }
        | E::BadAddress { .. }
        | E::BadMac(_)
        | E::BadMirror { .. }
        | E::OwnPeer(_)
        | E::Ambiguous { .. }
        | E::BackendTwice(_)
        | E::BadHost(_)
        | E::NotRouted { .. } => ApiError::invalid(message),
    }
}

/// What goes wrong while the kernel is being asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum KernelError {
    /// A namespace, link, address or route.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// A port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// An interface of that name that is not ours.
    #[error("{netns} already has an interface {ifname}")]
    Exists {
        /// The namespace.
        netns: String,
        /// The interface.
        ifname: String,
    },
    /// A program in the kernel.
    #[error(transparent)]
    Offload(#[from] OffloadError),
    /// There are no programs in the kernel.
    #[error("the kernel can carry no frames: {0}")]
    NoKernel(String),
    /// An endpoint without a sandbox has no interface.
    #[error("no sandbox has joined the endpoint")]
    NotJoined,
    /// An interface that was moved to its sandbox is not there, nor where it came from.
    #[error("{netns} has no interface with MAC address {mac} any more")]
    Lost {
        /// The namespace.
        netns: String,
        /// The address.
        mac: wire::MacAddr,
    },
    /// A veth whose other end is not where we are.
    #[error(
        "{netns} has no veth with MAC address {mac} whose other end is in the daemon's namespace"
    )]
    NoVeth {
        /// The namespace.
        netns: String,
        /// The address.
        mac: wire::MacAddr,
    },
    /// Some of it could not be taken back.
    #[error("{error}; moreover, {left_behind}")]
    LeftBehind {
        /// The failure.
        error: Box<Self>,
        /// What is still there.
        left_behind: String,
    },
}

impl KernelError {
    /// The refusal to answer with.
    pub(super) fn to_api(&self) -> ApiError {
        let message = self.to_string();
        match self {
            Self::Exists { .. } => ApiError::already_exists(message),
            Self::LeftBehind { .. } | Self::Offload(_) | Self::NoKernel(_) => {
                ApiError::unavailable(message)
            }
            Self::NotJoined => ApiError::invalid(message),
            Self::Lost { .. } | Self::NoVeth { .. } => ApiError::not_found(message),
            Self::Host(error) => match error {
                host::Error::NoNamespace { source, .. } if source.kind() == ErrorKind::NotFound => {
                    ApiError::not_found(message)
                }
                host::Error::Link { source, .. } if is_missing(source) => {
                    ApiError::not_found(message)
                }
                host::Error::NotANamespace { .. }
                | host::Error::NotEthernet { .. }
                | host::Error::NotABridge { .. }
                | host::Error::TooManyPorts { .. } => ApiError::invalid(message),
                host::Error::Overlaps { .. } | host::Error::Noted { .. } => {
                    ApiError::already_exists(message)
                }
                host::Error::NoNamespace { .. }
                | host::Error::Replaced { .. }
                | host::Error::Enter { .. }
                | host::Error::Resources { .. }
                | host::Error::Sysctl { .. }
                | host::Error::Link { .. } => ApiError::unavailable(message),
            },
            Self::Port(
                PortError::Name(_) | PortError::Queues { .. } | PortError::Capture { .. },
            ) => ApiError::invalid(message),
            Self::Port(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => {
                ApiError::not_found(message)
            }
            Self::Port(_) => ApiError::unavailable(message),
        }
    }
}

/// There is no interface of that name.
fn is_missing(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::ENODEV)
}

/// Something the daemon or the kernel cannot do now.
pub(super) fn unavailable(what: &str, error: &dyn Display) -> ApiError {
    ApiError::unavailable(format!("{what}: {error}"))
}
