"""Bugs put into the real code on purpose, each to be caught by the invariant that is meant to: proof that the simulator bites."""
