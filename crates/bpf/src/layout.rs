//! Fields of structs that a program shares with userspace or with the kernel.
//!
//! The struct is one Rust definition, `#[repr(C)]` and without padding: derive zerocopy's `IntoBytes`,
//! which refuses padding, so that a key has no byte that nobody wrote.

use crate::Size;
use std::marker::PhantomData;

/// A field of `S`: where it is, not what it holds. Made by [`field!`](crate::field).
#[derive(Debug)]
pub struct Field<S> {
    /// Its name, with the struct's.
    pub name: &'static str,
    /// Bytes before it.
    pub offset: usize,
    /// Bytes of it.
    pub bytes: usize,
    of: PhantomData<fn() -> S>,
}

impl<S> Clone for Field<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Field<S> {}

impl<S> Field<S> {
    /// A part of it that one instruction moves, `offset` bytes into it: half a MAC address.
    ///
    /// # Panics
    /// When the part does not lie within the field.
    #[must_use]
    pub const fn part(self, offset: usize, size: Size) -> Self {
        assert!(
            offset + size.bytes() <= self.bytes,
            "a part lies within its field"
        );
        Self {
            offset: self.offset + offset,
            bytes: size.bytes(),
            ..self
        }
    }
}

/// The expansion of [`field!`](crate::field). The function is never called: it says the type.
#[must_use]
pub const fn field_of<S, T>(name: &'static str, offset: usize, _: fn(&S) -> &T) -> Field<S> {
    Field {
        name,
        offset,
        bytes: size_of::<T>(),
        of: PhantomData,
    }
}

/// The [`Field`] of a struct, by name: `field!(Key.vlan)`.
#[macro_export]
macro_rules! field {
    ($of:ident . $field:ident) => {
        $crate::field_of::<$of, _>(
            concat!(stringify!($of), ".", stringify!($field)),
            ::core::mem::offset_of!($of, $field),
            |it| &it.$field,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Key {
        mac: [u8; 6],
        vlan: u16,
        port: u32,
    }

    #[test]
    fn a_field_knows_its_name_place_and_size() {
        const VLAN: Field<Key> = field!(Key.vlan);
        assert_eq!((VLAN.name, VLAN.offset, VLAN.bytes), ("Key.vlan", 6, 2));
        let port = field!(Key.port);
        assert_eq!((port.name, port.offset, port.bytes), ("Key.port", 8, 4));
        let tail = field!(Key.mac).part(4, Size::U16);
        assert_eq!((tail.name, tail.offset, tail.bytes), ("Key.mac", 4, 2));
    }

    #[test]
    #[should_panic(expected = "within its field")]
    fn a_part_beyond_its_field_is_refused() {
        let _ = field!(Key.mac).part(4, Size::U32);
    }
}
