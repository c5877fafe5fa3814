"""The CRDT: a set of signed records whose merge is union, the digests by which two sets find their difference, and the
bodies that records name."""
