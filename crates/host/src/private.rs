//! A namespace of the daemon's own, which nobody else enters: sockets of its servers live there,
//! at addresses that would clash with the host's.

use crate::{Error, Inside, NamespaceRef, Netns};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;

/// A namespace without a name. It ends when this value is dropped and nothing opened inside is
/// open any more: neither a panic nor SIGKILL leaves it behind.
#[derive(Debug)]
pub struct Private {
    fd: OwnedFd,
    netns: Netns,
}

impl Private {
    /// Makes one, with its loopback interface up.
    ///
    /// # Errors
    /// [`Error::Resources`] when the kernel refuses: it takes CAP_SYS_ADMIN.
    pub fn new() -> Result<Self, Error> {
        let fd: OwnedFd = make().map_err(|source| Error::Resources {
            what: "make a namespace",
            netns: "of the daemon's servers".to_owned(),
            source,
        })?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        let netns = Netns::find(NamespaceRef::Path(path.into()))?;
        netns.run(|inside| inside.links()?.set_up("lo", true))?;
        Ok(Self { fd, netns })
    }

    /// The namespace, as good as any other while this value lives.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Runs `work` inside: see [`Netns::run`].
    ///
    /// # Errors
    /// What `work` answers.
    pub fn run<T, E>(&self, work: impl FnOnce(&Inside) -> Result<T, E> + Send) -> Result<T, E>
    where
        T: Send,
        E: Send + From<Error>,
    {
        self.netns.run(work)
    }
}

impl AsFd for Private {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A thread that changes its namespace and then ends changes nobody else's.
fn make() -> io::Result<OwnedFd> {
    let unshared = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    };
    let thread = std::thread::Builder::new()
        .name("clearway-netns".to_owned())
        .spawn(unshared)?;
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn it_is_another_namespace_with_loopback_up() {
        let private = Private::new().unwrap();
        assert_ne!(
            private.netns().identity(),
            Netns::find(NamespaceRef::Own).unwrap().identity()
        );
        let [first, second] = [(); 2].map(|()| {
            let socket = private.run(|_| Ok::<_, Error>(UdpSocket::bind("127.0.0.1:0").unwrap()));
            socket.unwrap()
        });
        first
            .send_to(b"here", second.local_addr().unwrap())
            .unwrap();
        let mut buffer = [0; 8];
        assert_eq!(second.recv(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn two_of_them_have_the_same_ports_free() {
        let both = [(); 2].map(|()| Private::new().unwrap());
        let bind = |it: &Private| it.run(|_| Ok::<_, Error>(TcpListener::bind("127.0.0.1:53")));
        let sockets = both.each_ref().map(|it| bind(it).unwrap().unwrap());
        assert_eq!(sockets.len(), 2);
    }
}
