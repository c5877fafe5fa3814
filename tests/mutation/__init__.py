"""Mutation testing of the code that decides: small changes of it, each of which some test must notice."""
