"""Conformance: the same scenarios through the trio runtime that ships, under a mock clock.

                    the discrete engine                     here
    node, gate      gossip.Node, host.Gate, Enforcer        the same
    driver          faramesh_sim.process                    runtime.driver: tasks, links, framing, timers, dials
    disk queue      faramesh_sim.storage                    runtime.storage: linger, group commit, a full disk
    each second     faramesh_sim.process                    runtime.steward
    bytes           faramesh_sim.network                    the same network, behind a stream (`wire`)
    time            faramesh_sim.engine                     trio's, mocked: it jumps when all tasks wait

What is left out is TLS, sockets and SQLite, which have tests of their own with real ones.
"""

from faramesh_sim.conformance.run import MOST_NODES, Unsupported, check, run

__all__ = ["MOST_NODES", "Unsupported", "check", "run"]
