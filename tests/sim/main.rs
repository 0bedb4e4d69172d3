//! Tests that need no privileges: whole frames through the whole pipeline, in virtual time.

#![cfg(test)]

mod oracle;
mod rig;
mod scenarios;
