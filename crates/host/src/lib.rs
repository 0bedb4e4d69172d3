//! Carries out a plan in the kernel, with undo.
