//! Network namespaces: found by name, entered on threads made for it, watched for their end.
//!
//! A [`Netns`] holds no descriptor of its namespace, because that would keep the namespace alive:
//! it remembers the device and inode of the namespace's file and looks again each time. So a name
//! that has come to mean another namespace is never entered by mistake, and a container that ended
//! is seen as such although its interface's descriptor, held open by us, keeps its namespace in
//! being. For the same reason the inode is not given to another namespace meanwhile. A process is
//! watched in the same way, by the namespace its /proc entry names: a pid that was given to another
//! process means another namespace, or, harmlessly, the same one.
//!
//! Entering is per thread. A thread is made for each call and ends with it, so no thread that has
//! other work to do is ever in a foreign namespace.

use crate::{Error, Links};
use nix::sched::{CloneFlags, setns};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

/// A network namespace, by the way in which it is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NamespaceRef {
    /// By its name under /run/netns.
    Name(String),
    /// By a file that stands for it.
    Path(PathBuf),
    /// As the one a process is in.
    Pid(u32),
    /// The one the calling thread is in: the daemon's threads are all in one.
    Own,
}

impl NamespaceRef {
    /// The file that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Name(name) => Path::new(NAMES).join(name),
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            // Of a thread: the process itself has none, and names its first thread's.
            Self::Own => PathBuf::from("/proc/thread-self/ns/net"),
        }
    }
}

impl fmt::Display for NamespaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
            Self::Pid(pid) => write!(f, "of process {pid}"),
            Self::Own => f.write_str("of the daemon"),
        }
    }
}

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";

/// The kernel's identity of a namespace: two names of one namespace have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The device of the namespace's file.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Netns {
    place: NamespaceRef,
    identity: Identity,
}

impl Netns {
    /// The namespace that `place` names now.
    ///
    /// # Errors
    /// [`Error::NoNamespace`], [`Error::NotANamespace`].
    pub fn find(place: NamespaceRef) -> Result<Self, Error> {
        let found = fs::metadata(place.path());
        let metadata = found.map_err(|source| Error::NoNamespace {
            netns: place.to_string(),
            source,
        })?;
        // All namespaces of all kinds live in one little file system of the kernel's, to which
        // this process's own belongs.
        let nsfs = fs::metadata(NamespaceRef::Own.path()).map_err(|source| Error::NoNamespace {
            netns: NamespaceRef::Own.to_string(),
            source,
        })?;
        if metadata.dev() != nsfs.dev() {
            return Err(Error::NotANamespace {
                netns: place.to_string(),
            });
        }
        Ok(Self {
            place,
            identity: Identity::of(&metadata),
        })
    }

    /// The namespace that was found at `place` once, whether or not it is still there.
    #[must_use]
    pub fn known(place: NamespaceRef, identity: Identity) -> Self {
        Self { place, identity }
    }

    /// How it is found.
    #[must_use]
    pub fn place(&self) -> &NamespaceRef {
        &self.place
    }

    /// Returns which one it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns whether its place still names it. Costs one stat(2).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        fs::metadata(self.place.path())
            .is_ok_and(|metadata| Identity::of(&metadata) == self.identity)
    }

    /// Runs `work` on a fresh thread inside the namespace and waits for it. A panic of `work` goes
    /// on in the caller. What was opened inside (a TAP, a socket) stays inside and may be handed
    /// out.
    ///
    /// # Errors
    /// When the namespace cannot be entered; else what `work` answers.
    pub fn run<T, E>(&self, work: impl FnOnce(&Inside) -> Result<T, E> + Send) -> Result<T, E>
    where
        T: Send,
        E: Send + From<Error>,
    {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("clearway-netns".to_owned())
                .spawn_scoped(scope, || {
                    self.enter()?;
                    work(&Inside {
                        netns: self.place.to_string(),
                    })
                })
                .map_err(|source| Error::Resources {
                    what: "start a thread",
                    netns: self.place.to_string(),
                    source,
                })?;
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Runs `work` with the interfaces of the calling thread's own namespace.
    ///
    /// # Errors
    /// When they cannot be asked about; else what `work` answers.
    pub fn with_own_links<T, E>(work: impl FnOnce(&Links) -> Result<T, E> + Send) -> Result<T, E>
    where
        T: Send,
        E: Send + From<Error>,
    {
        Self::find(NamespaceRef::Own)?.run(|inside| work(&inside.links()?))
    }

    /// A descriptor, which keeps the namespace alive.
    pub(crate) fn open(&self) -> Result<File, Error> {
        let netns = || self.place.to_string();
        let no_namespace = |source| Error::NoNamespace {
            netns: netns(),
            source,
        };
        let file = File::open(self.place.path()).map_err(no_namespace)?;
        if Identity::of(&file.metadata().map_err(no_namespace)?) != self.identity {
            return Err(Error::Replaced { netns: netns() });
        }
        Ok(file)
    }

    /// Puts the calling thread into the namespace.
    fn enter(&self) -> Result<(), Error> {
        let netns = || self.place.to_string();
        let file = self.open()?;
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| {
            let source = io::Error::from(errno);
            match source.raw_os_error() {
                // A namespace, but of another kind.
                Some(nix::libc::EINVAL) => Error::NotANamespace { netns: netns() },
                _ => Error::Enter {
                    netns: netns(),
                    source,
                },
            }
        })
    }
}

/// Proof that the current thread is inside a namespace.
#[derive(Debug)]
pub struct Inside {
    netns: String,
}

impl Inside {
    /// The namespace's interfaces.
    ///
    /// # Errors
    /// [`Error::Resources`] when no netlink socket can be made.
    pub fn links(&self) -> Result<Links, Error> {
        Links::open(&self.netns)
    }

    /// The namespace's name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.netns
    }
}
