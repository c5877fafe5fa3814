"""What is measured, not tested: run with `just bench` (`python -m benchmarks`), results as JSON and a table.

Each module measures one promise of docs/benchmarks.md on this machine. Nothing here is a timed pytest test: a figure
that misses its aim is reported, with the load of the machine beside it, and changes the exit code of `--strict` only.
"""
