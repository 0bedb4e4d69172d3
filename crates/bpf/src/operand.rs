//! Operands as a program reads them: places in memory, locals, conditions.

use crate::{Field, Register, Size, Source, Test, Width};
use std::marker::PhantomData;

/// A place in memory, relative to the address in a register.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub(crate) base: Register,
    pub(crate) offset: i64,
    pub(crate) bytes: usize,
    /// The name of what lies there, for listings and errors.
    pub(crate) name: Option<&'static str>,
}

/// A variable on the stack.
#[derive(Debug)]
pub struct Local<S> {
    pub(crate) name: &'static str,
    /// Negative: relative to the frame pointer.
    pub(crate) offset: i64,
    of: PhantomData<fn() -> S>,
}

impl<S> Clone for Local<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Local<S> {}

impl<S> Local<S> {
    pub(crate) const fn new(name: &'static str, offset: i64) -> Self {
        Self {
            name,
            offset,
            of: PhantomData,
        }
    }

    /// A field of it.
    #[must_use]
    pub const fn field(self, field: Field<S>) -> Place {
        Place {
            base: Register::R10,
            offset: self.offset + field.offset as i64,
            bytes: field.bytes,
            name: Some(field.name),
        }
    }

    /// A part of it, `offset` bytes into it.
    ///
    /// # Panics
    /// When the part does not lie within it.
    #[must_use]
    pub const fn part(self, offset: usize, size: Size) -> Place {
        assert!(
            offset + size.bytes() <= size_of::<S>(),
            "a part lies within its local"
        );
        Place {
            base: Register::R10,
            offset: self.offset + offset as i64,
            bytes: size.bytes(),
            name: Some(self.name),
        }
    }

    /// All of it, where it is a number.
    #[must_use]
    pub const fn value(self) -> Place {
        Place {
            base: Register::R10,
            offset: self.offset,
            bytes: size_of::<S>(),
            name: Some(self.name),
        }
    }
}

/// A question about a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub(crate) width: Width,
    pub(crate) test: Test,
    pub(crate) dst: Register,
    pub(crate) src: Source,
}

impl Condition {
    /// The same about the low halves. Since 5.1.
    #[must_use]
    pub const fn narrow(mut self) -> Self {
        self.width = Width::W32;
        self
    }
}

impl Register {
    /// A field of the struct that the register points to.
    #[must_use]
    pub const fn field<S>(self, field: Field<S>) -> Place {
        Place {
            base: self,
            offset: field.offset as i64,
            bytes: field.bytes,
            name: Some(field.name),
        }
    }

    /// So many bytes, `offset` behind where the register points.
    #[must_use]
    pub const fn at(self, offset: i16, size: Size) -> Place {
        Place {
            base: self,
            offset: offset as i64,
            bytes: size.bytes(),
            name: None,
        }
    }

    /// A comparison of it, of all 64 bits.
    #[must_use]
    pub fn compare(self, test: Test, with: impl Into<Source>) -> Condition {
        Condition {
            width: Width::W64,
            test,
            dst: self,
            src: with.into(),
        }
    }

    /// `==`
    #[must_use]
    pub fn is(self, other: impl Into<Source>) -> Condition {
        self.compare(Test::Equal, other)
    }

    /// `!=`
    #[must_use]
    pub fn is_not(self, other: impl Into<Source>) -> Condition {
        self.compare(Test::NotEqual, other)
    }

    /// `>`, unsigned.
    #[must_use]
    pub fn above(self, other: impl Into<Source>) -> Condition {
        self.compare(Test::Above, other)
    }

    /// `>=`, unsigned.
    #[must_use]
    pub fn at_least(self, other: impl Into<Source>) -> Condition {
        self.compare(Test::AtLeast, other)
    }

    /// `<`, unsigned.
    #[must_use]
    pub fn below(self, other: impl Into<Source>) -> Condition {
        self.compare(Test::Below, other)
    }

    /// `<=`, unsigned.
    #[must_use]
    pub fn at_most(self, other: impl Into<Source>) -> Condition {
        self.compare(Test::AtMost, other)
    }

    /// A bit is set in both.
    #[must_use]
    pub fn any_bit(self, mask: impl Into<Source>) -> Condition {
        self.compare(Test::AnyBit, mask)
    }
}
