"""The invariants, each tied to a promise of the design, and checked from outside the nodes."""
