//! A lab of containers in namespaces, to see Clearway work.
