//! A deterministic simulation: fake clock, seeded wires, smoltcp hosts.
