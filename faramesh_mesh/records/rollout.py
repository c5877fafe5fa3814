"""Rollout and restore: a signed plan that brings one policy version to a roster of agents, stage by stage.

A restore is a plan that also lifts the kills it names, for the agents of the stages that are open. Both have one
payload; the kind tells them apart, because different roles sign them.
"""

from enum import IntEnum, unique

from msgspec import Struct

from faramesh_mesh.records.chain import MAX_SEQ, Extra, Head, read_extra, read_head, read_ids
from faramesh_mesh.records.codec import Fields, Primitive, ascending
from faramesh_mesh.records.ids import ID_SIZE, Digest, RecordId
from faramesh_mesh.records.labels import read_name
from faramesh_mesh.records.policy import MAX_BODY, MAX_MESSAGE
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import MAX_TEXT, Selector, parse

MAX_STAGES = 32
MAX_LIFTS = 32
MAX_SUPERSEDED = 8
MAX_ROSTER = 1_000_000
"""Largest count of agents that the fields of a plan can say. A roster's body is full long before
(`MAX_BODY`): at 30 bytes an agent with some 35 000 of them."""
SALT_SIZE = 16


@unique
class OnAbort(IntEnum):
    """What agents of the open cohort run once the rollout is aborted."""

    REVERT = 0
    """What they would run without this rollout."""
    HOLD = 1
    """Those that had adopted the policy keep it; nobody else gets it."""
    DENY = 2
    """Nothing: they deny every call."""


class Rollout(Struct, frozen=True, gc=False):
    """A plan. It opens stage 0 only, in which nothing is enforced; votes open the stages.

    `policy` and `base` are ids of policy records (`base` is none where the line had nothing before). `roster` names
    the body that lists the agents in the order of their names, `count` of them in `roster_size` bytes. `stages[k-1]`
    is how many agents of the cohort order have the policy once stage k is open: strictly ascending, the last is
    `count`. `waves` are regions in the order in which they are taken, none for all at once. `until` ends a pin
    (milliseconds since 1970; 0 for no end). Times of a stage are in seconds. `gates` and `caps` are named integers.
    """

    head: Head
    line: str
    policy: RecordId
    base: RecordId | None
    selector: Selector
    roster: Digest
    roster_size: int
    count: int
    stages: tuple[int, ...]
    waves: tuple[str, ...]
    salt: bytes
    on_abort: OnAbort
    message: str
    supersedes: tuple[RecordId, ...]
    lifts: tuple[RecordId, ...]
    same_policy: bool
    until: int
    observe: int
    bake: int
    trial: int
    gates: tuple[tuple[str, int], ...]
    caps: tuple[tuple[str, int], ...]
    extra: Extra

    @property
    def is_pin(self) -> bool:
        """Whether it holds one instance off its line for a while, rather than moving the line."""
        return self.until != 0

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [
            *self.head.fields(),
            self.line,
            self.policy,
            self.base,
            self.selector.text,
            self.roster,
            self.roster_size,
            self.count,
            [[stage] for stage in self.stages],
            list(self.waves),
            self.salt,
            int(self.on_abort),
            self.message,
            list(self.supersedes),
            list(self.lifts),
            self.same_policy,
            self.until,
            self.observe,
            self.bake,
            self.trial,
            [[name, value] for name, value in self.gates],
            [[name, value] for name, value in self.caps],
            *self.extra.fields(),
        ]


def read_rollout(fields: Fields) -> Rollout:
    """Read the payload of a rollout. Raises `Malformed`."""
    plan = _read_plan(fields)
    if plan.lifts:
        raise Malformed("lifts: a rollout lifts no kills")
    return plan


def read_restore(fields: Fields) -> Rollout:
    """Read the payload of a restore. Raises `Malformed`."""
    plan = _read_plan(fields)
    if not plan.lifts:
        raise Malformed("lifts: a restore names the kills that it lifts")
    if plan.on_abort is not OnAbort.DENY:
        raise Malformed("on_abort: an aborted restore always denies")
    if plan.until:
        raise Malformed("until: a restore is no pin; it would leave its kills lifted when it ends")
    return plan


def _read_plan(fields: Fields) -> Rollout:
    head = read_head(fields)
    line = read_name(fields, "line")
    policy = RecordId(fields.binary("policy", ID_SIZE))
    base = fields.optional_binary("base", ID_SIZE)
    selector = parse(fields.text("selector", MAX_TEXT, smallest=1))
    roster = Digest(fields.binary("roster", ID_SIZE))
    roster_size = fields.uint("roster_size", MAX_BODY, smallest=1)
    count = fields.uint("count", MAX_ROSTER, smallest=1)
    stages = fields.items(
        "stages", MAX_STAGES, lambda item: item.uint("agents", MAX_ROSTER, smallest=1), least=1
    )
    ascending(stages, "stages", int)
    if stages[-1] != count:
        raise Malformed("stages: the last one must be the whole roster")
    waves = fields.texts("waves", 128, 64)
    salt = fields.binary("salt", SALT_SIZE)
    on_abort = OnAbort(fields.uint("on_abort", len(OnAbort) - 1))
    message = fields.text("message", MAX_MESSAGE, smallest=1)
    supersedes = read_ids(fields, "supersedes", MAX_SUPERSEDED)
    lifts = read_ids(fields, "lifts", MAX_LIFTS)
    return Rollout(
        head,
        line,
        policy,
        None if base is None else RecordId(base),
        selector,
        roster,
        roster_size,
        count,
        stages,
        waves,
        salt,
        on_abort,
        message,
        supersedes,
        lifts,
        fields.flag("same_policy"),
        fields.uint("until"),
        fields.uint("observe", MAX_SEQ),
        fields.uint("bake", MAX_SEQ),
        fields.uint("trial", MAX_SEQ),
        ascending(fields.items("gates", 16, _named), "gates", lambda pair: pair[0]),
        ascending(fields.items("caps", 16, _named), "caps", lambda pair: pair[0]),
        read_extra(fields),
    )


def _named(fields: Fields) -> tuple[str, int]:
    return fields.text("name", 32, smallest=1), fields.uint("value")
