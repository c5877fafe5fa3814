# What one does here. `just` alone lists it. Everything runs in the environment that `uv sync` makes.

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

[private]
default:
    @just --list

# Make the environment
setup:
    uv sync

# Style and likely mistakes
lint:
    ruff check
    ruff format --check

# Strict types
types:
    mypy

# The floors of the house: who may import whom
imports:
    lint-imports

# Every test but the slow ones: under four minutes on two cores
test *args:
    python -m pytest -n 2 --dist worksteal {{args}}

# The tests that take minutes
test-slow *args:
    python -m pytest -m slow {{args}}

# The standard sweep with each seeded bug in force, until it is caught: an hour; a table, and JSON in out/
seeded-bugs *args:
    PYTHONPATH=tests python -m sim.seeded_bugs.prove {{args}}

# Small changes of the code that decides, each of which some test must notice: a sample, as far as half an hour goes
mutate *args:
    PYTHONPATH=tests python -m mutation.run {{args}}

# What is measured: a table, and JSON in out/
bench *args:
    PYTHONPATH=tests python -m benchmarks {{args}}

# What CI runs before the tests
check: lint types imports

# Write the one style there is
format:
    ruff check --fix
    ruff format
