"""The control API: how an operator's client, or an agent of another process, talks to one node.

It is served over a Unix socket in the node's home (mode 0600: whoever may open it may ask everything), over
another for the members of a group (see `agent_socket`: decisions only) and, in the lane `fmesh-control/1`,
over TLS on the mesh port (for holders of role keys). The node hands out signed records; the client verifies
every one itself and computes all views, so a lying node can withhold and nothing more.
"""
