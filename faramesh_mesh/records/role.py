"""Roles: what the root document lets a key do."""

from enum import IntEnum, unique

from faramesh_mesh.records.kind import Kind


@unique
class Role(IntEnum):
    """A right to sign certain kinds. The number is the bit in a key's role mask."""

    ROOT = 0
    POLICY = 1
    ROLLOUT = 2
    KILL = 3
    RESTORE = 4
    ENROL = 5
    CONTROLLER = 6
    READER = 7

    @property
    def quota(self) -> int:
        """How many control records a key of this role may ever sign: bounds the set when a key is stolen.

        A kill key that runs into its quota counts as killing its whole scope, so a flood cannot buy silence.
        """
        return _QUOTAS[self]


_QUOTAS = {
    Role.ROOT: 1_000,
    Role.POLICY: 10_000,
    Role.ROLLOUT: 10_000,
    Role.KILL: 1_000,
    Role.RESTORE: 10_000,
    Role.ENROL: 100_000,
    Role.CONTROLLER: 10_000,
    Role.READER: 0,
}

MAY_SIGN: dict[Kind, tuple[Role, ...]] = {
    Kind.ROOT: (Role.ROOT,),
    Kind.ENROLMENT: (Role.ENROL,),
    Kind.POLICY: (Role.POLICY,),
    Kind.ROLLOUT: (Role.ROLLOUT,),
    Kind.RESTORE: (Role.RESTORE,),
    Kind.VOTE: (Role.ROLLOUT, Role.RESTORE, Role.CONTROLLER),
    Kind.COSIGN: (Role.POLICY, Role.ROLLOUT, Role.RESTORE, Role.ROOT, Role.ENROL),
    Kind.ABORT: (Role.ROLLOUT, Role.RESTORE, Role.CONTROLLER),
    Kind.HOLD: (Role.ROLLOUT, Role.RESTORE, Role.CONTROLLER),
    Kind.RELEASE: (Role.ROLLOUT, Role.RESTORE),
    Kind.KILL: (Role.KILL,),
    Kind.REVOCATION: (Role.ROOT, Role.ENROL),
    Kind.STATUS: (),
}
"""Which roles admit a record of each kind. A status is signed by the node that it speaks of, not by a role."""
