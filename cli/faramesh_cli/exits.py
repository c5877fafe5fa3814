"""Exit codes: what a script that called us can rely on. `docs/exit-codes.md` explains each for people."""

from enum import IntEnum, unique


@unique
class ExitCode(IntEnum):
    """How a command ended. With `--wait` it is the code of what happened in the mesh, not of the sending."""

    DONE = 0
    """Done, healthy, or in force everywhere."""
    ERROR = 1
    """Something did not work: no node reachable, a file missing, a damaged home."""
    USAGE = 2
    """The command line itself is wrong. The command tree uses the same number."""
    ABORTED = 3
    """The rollout was aborted; in a simulation, an invariant failed."""
    HELD = 4
    """The rollout is held or inconclusive: it needs an operator."""
    TIMEOUT = 5
    """What was waited for has not happened yet. The action itself stands."""
    REFUSED = 6
    """Refused before anything was signed: a wrong count, a conflict, a policy that does not compile, a canary
    that is the whole fleet."""
    NOT_AUTHORISED = 7
    """No key here may do this, the passphrase is wrong, or more keys must sign."""
    PARTIAL = 8
    """The answer speaks for a part of the fleet only."""
    SUPERSEDED = 9
    """The rollout was replaced by a later one."""
    UNCONFIRMED = 10
    """In force, but not every agent concerned has said so."""
