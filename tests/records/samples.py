"""One payload of every kind with every field set, all to different values."""

from faramesh_mesh.records.chain import Extra, Head
from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.enrolment import Duty, Enrolment
from faramesh_mesh.records.halt import Abort, Hold, Release
from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Control
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort, Rollout
from faramesh_mesh.records.root import Cut, RoleKey, Root
from faramesh_mesh.records.roster import Entry, Roster
from faramesh_mesh.records.selector import parse
from faramesh_mesh.records.status import AgentReport, Standing, Status
from faramesh_mesh.records.vote import Vote


def binary(number: int, size: int = 32) -> bytes:
    """Bytes that differ from those of any other number, and ascend with it."""
    return number.to_bytes(2, "big") + bytes([number % 251]) * (size - 2)


HEAD = Head(7, RecordId(binary(1)), ((2, 30), (5, 6)), 1_800_000_000_001)
EXTRA = Extra((("later", b"v"),), ("later",))

_PLAN = {
    "head": HEAD,
    "line": "payments",
    "policy": RecordId(binary(2)),
    "base": RecordId(binary(3)),
    "selector": parse("team=billing"),
    "roster": Digest(binary(4)),
    "roster_size": 400,
    "count": 30,
    "stages": (3, 30),
    "waves": ("eu", "us"),
    "salt": binary(5, 16),
    "message": "a plan",
    "supersedes": (RecordId(binary(6)),),
    "observe": 60,
    "bake": 61,
    "trial": 62,
    "gates": (("deny_rate", 5),),
    "caps": (("region", 9),),
    "extra": EXTRA,
}

ROLLOUT = Rollout(**_PLAN, on_abort=OnAbort.HOLD, lifts=(), same_policy=False, until=1_800_000_000_002)  # type: ignore[arg-type]
RESTORE = Rollout(**_PLAN, on_abort=OnAbort.DENY, lifts=(RecordId(binary(7)),), same_policy=True, until=0)  # type: ignore[arg-type]

CONTROL: dict[Kind, Control] = {
    Kind.ENROLMENT: Enrolment(
        HEAD,
        "billing-7",
        binary(8),
        (("region", "eu"), ("team", "billing")),
        "payments",
        (Duty.ENROL,),
        binary(9, 16),
        (RecordId(binary(10)),),
        EXTRA,
    ),
    Kind.POLICY: Policy(
        HEAD,
        "payments",
        12,
        Digest(binary(11)),
        401,
        "application/vnd.faramesh.fpl",
        "a policy",
        (RecordId(binary(12)),),
        RecordId(binary(13)),
        EXTRA,
    ),
    Kind.ROLLOUT: ROLLOUT,
    Kind.RESTORE: RESTORE,
    Kind.VOTE: Vote(HEAD, RecordId(binary(14)), 2, Digest(binary(15)), EXTRA),
    Kind.COSIGN: Cosign(HEAD, RecordId(binary(16)), EXTRA),
    Kind.ABORT: Abort(HEAD, RecordId(binary(17)), "an abort", EXTRA),
    Kind.HOLD: Hold(HEAD, RecordId(binary(18)), "a hold", EXTRA),
    Kind.RELEASE: Release(HEAD, RecordId(binary(19)), (RecordId(binary(20)),), "a release", EXTRA),
    Kind.KILL: Kill(
        HEAD, parse("instance=billing-7"), ("payments/*", "wire"), "a kill", 1_800_000_000_003, EXTRA
    ),
    Kind.REVOCATION: Revocation(
        HEAD, RevokedKey(KeyId(binary(21, 16)), Cut(8, RecordId(binary(22)))), "a revocation", EXTRA
    ),
}

STATUS = Status(
    3,
    9,
    1_800_000_000_004,
    1,
    100,
    binary(23, 16),
    "[::1]:7420",
    "faramesh-mesh 0",
    True,
    (
        AgentReport(
            "billing-7",
            Standing.ENFORCING,
            RecordId(binary(24)),
            RecordId(binary(25)),
            2,
            (binary(26, 8),),
            10,
            11,
            12,
            13,
            "no",
        ),
    ),
    EXTRA,
)

ROOT = Root(
    2,
    "test",
    1_800_000_000_005,
    binary(27, 16),
    RecordId(binary(31)),
    (
        RoleKey(binary(28), "old", frozenset({Role.KILL}), parse("region=eu"), Cut(4, RecordId(binary(30)))),
        RoleKey(binary(29), "ops", frozenset(Role), parse("*"), None),
    ),
    tuple((role, 1) for role in sorted(Role)),
    (b"a certificate",),
    EXTRA,
)

ROSTER: Roster = (Entry("billing-7", "eu", "billing"), Entry("billing-8", "us", ""))
