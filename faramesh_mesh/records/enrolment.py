"""Enrolment: an enrol key says that an agent exists, on which node it lives and what labels it has."""

from enum import StrEnum, unique

from msgspec import Struct
from msgspec.structs import force_setattr

from faramesh_mesh.records.chain import Extra, Head, read_extra, read_head, read_ids
from faramesh_mesh.records.codec import Fields, Primitive, ascending
from faramesh_mesh.records.ids import PUBLIC_KEY_SIZE, KeyId, RecordId, key_id
from faramesh_mesh.records.labels import NO_REGION, REGION, Labels, read_labels, read_name
from faramesh_mesh.records.rejection import Malformed

DEFAULT_LINE = "default"
MAX_SUPERSEDES = 8


@unique
class Duty(StrEnum):
    """A service that a node does for the mesh beside gossip."""

    ENROL = "enrol"


class Enrolment(Struct, frozen=True, gc=False):
    """One agent on one node. `node` is the node's Ed25519 public key: only its holder runs this agent.

    `line` names the policy line the agent follows; `token` is the id of the join token it used, or empty;
    `supersedes` are the ids of earlier enrolments of the same agent that this one replaces.
    """

    head: Head
    agent: str
    node: bytes
    labels: Labels
    line: str
    duties: tuple[Duty, ...]
    token: bytes
    supersedes: tuple[RecordId, ...]
    extra: Extra
    node_id: KeyId = KeyId(b"")
    """The id of the node that the agent lives on, made from `node` whatever is given: every view files the
    enrolment under it."""

    def __post_init__(self) -> None:
        force_setattr(self, "node_id", key_id(self.node))

    @property
    def region(self) -> str:
        """The agent's region, by its label."""
        return dict(self.labels).get(REGION, NO_REGION)

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [
            *self.head.fields(),
            self.agent,
            self.node,
            [[key, value] for key, value in self.labels],
            self.line,
            [duty.value for duty in self.duties],
            self.token,
            list(self.supersedes),
            *self.extra.fields(),
        ]


def read_enrolment(fields: Fields) -> Enrolment:
    """Read an enrolment payload. Raises `Malformed`."""
    return Enrolment(
        read_head(fields),
        read_name(fields, "agent"),
        fields.binary("node", PUBLIC_KEY_SIZE),
        read_labels(fields, "labels"),
        read_name(fields, "line"),
        read_duties(fields),
        fields.blob("token", 16),
        read_ids(fields, "supersedes", MAX_SUPERSEDES),
        read_extra(fields),
    )


def read_duties(fields: Fields) -> tuple[Duty, ...]:
    """Duties, ascending. Raises `Malformed`."""
    names = fields.texts("duties", 16, 8)
    if not names:
        return ()
    try:
        return tuple(Duty(name) for name in ascending(names, "duties", str))
    except ValueError:
        raise Malformed("duties: unknown duty") from None
