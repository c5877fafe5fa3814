"""Randomness of the model: numpy's PCG64, seeded by the project's own named streams."""

from numpy.random import PCG64, Generator

from faramesh_mesh.gossip.rng import SplitMix64


def generator(seed: int, name: str) -> Generator:
    """The generator for a named purpose: the same seed, name and numpy give the same numbers. What numpy makes of PCG64 may
    change between its versions (NEP 19), so unlike a trace of the simulator a figure is tied to one of them."""
    return Generator(PCG64(SplitMix64(seed).stream(name).below(1 << 64)))
