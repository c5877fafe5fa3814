"""What is signed and replicated: the envelope, one small module per kind of record, and their limits.

Everything here is a value or a total function over bytes. Nothing here knows who may sign what (`trust`),
what is held (`state`) or what it means for an agent (`fleet`).
"""
