"""The simulator: drives `faramesh_mesh.gossip.node.Node`, the node that ships, in virtual time, and checks the promises.

scenario -----> World: machines, network, operators          one engine, one seed, no clock but its own
                  |  faults (inject), operations (operate)
                  v
                invariants, outside the nodes -----> Outcome: violations, a trace hash, what was measured
"""
