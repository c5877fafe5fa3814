"""Scenarios: their model, their files."""
