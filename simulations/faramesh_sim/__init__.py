"""The simulator: drives `faramesh_mesh.gossip.node.Node`, the node that ships, in virtual time. Not built yet."""
