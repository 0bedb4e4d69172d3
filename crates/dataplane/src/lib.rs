//! Workers that carry frames from port to port along one straight line.
