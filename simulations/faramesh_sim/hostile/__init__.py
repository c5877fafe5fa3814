"""Hostile machines: what they say and do in place of what their processes would. One behaviour a class; a machine may have several.

They are as strong as the mesh allows: they are enrolled, they know everything that any node holds, and they keep to TCP and TLS
because they have to.
"""
