//! One test a requirement, named by its number; then properties.

mod rig;
