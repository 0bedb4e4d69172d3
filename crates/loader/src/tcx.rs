//! Attachment by a link: Linux 6.6 or newer. A link ends with its descriptor, so no program outlives its
//! maker, and it has a place in an order.

use crate::{LoadError, Loaded, Side, sys};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where among the programs that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Sees packets before all that are there.
    First,
    /// Sees what the others let pass.
    Last,
}

/// A program at an interface. Dropping it detaches the program, once no process that was just started has a
/// copy of its descriptor; [`Link::detach`] does so at once.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Link {
    /// Detaches the program at once.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn detach(self) -> Result<(), LoadError> {
        sys::link_detach(self.as_fd()).map_err(|error| LoadError::new("detach a program", error))
    }
}

const fn attach_type(side: Side) -> u32 {
    match side {
        Side::Ingress => 46,
        Side::Egress => 47,
    }
}

/// Attaches a program to an interface of the calling thread's namespace.
///
/// # Errors
/// [`LoadError::Gone`] when there is no such interface; that the argument is wrong on a kernel before 6.6.
pub fn attach(
    program: &Loaded,
    interface: u32,
    side: Side,
    place: Place,
) -> Result<Link, LoadError> {
    // `BPF_F_BEFORE` and `BPF_F_AFTER`, relative to nobody.
    let flags = match place {
        Place::First => 1 << 3,
        Place::Last => 1 << 4,
    };
    let fd = sys::link_create(program.as_fd(), interface, attach_type(side), flags)
        .map_err(|error| LoadError::new("attach a program by a link", error))?;
    Ok(Link { fd })
}

/// The numbers ([`Loaded::id`]) of the programs at an interface, in the order in which they run.
///
/// # Errors
/// As [`attach`].
pub fn attached(interface: u32, side: Side) -> Result<Vec<u32>, LoadError> {
    let mut programs = vec![0; 64];
    loop {
        let count = sys::query(interface, attach_type(side), &mut programs)
            .map_err(|error| LoadError::new("list the programs of an interface", error))?;
        if count <= programs.len() {
            programs.truncate(count);
            return Ok(programs);
        }
        programs.resize(count, 0);
    }
}
