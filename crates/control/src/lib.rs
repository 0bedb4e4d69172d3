//! Desired state: networks, endpoints, sandboxes, addresses; from it a plan and a topology.
