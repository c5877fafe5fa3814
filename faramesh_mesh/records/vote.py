"""Vote: one key opens one stage of a rollout, over the evidence it names."""

from msgspec import Struct

from faramesh_mesh.records.chain import Extra, Head, read_extra, read_head
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.ids import ID_SIZE, Digest, RecordId
from faramesh_mesh.records.rollout import MAX_STAGES


class Vote(Struct, frozen=True, gc=False):
    """A vote for (rollout, stage). A stage is open once a quorum of distinct keys voted for it and all stages before
    it are open. Stage n + 1 of n, in a plan that bakes, completes the rollout. `evidence` names the immutable body that
    the voter judged, none for a vote by hand."""

    head: Head
    rollout: RecordId
    stage: int
    evidence: Digest | None
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [*self.head.fields(), self.rollout, self.stage, self.evidence, *self.extra.fields()]


def read_vote(fields: Fields) -> Vote:
    """Read a vote payload. Raises `Malformed`."""
    head = read_head(fields)
    rollout = RecordId(fields.binary("rollout", ID_SIZE))
    stage = fields.uint("stage", MAX_STAGES + 1, smallest=1)
    evidence = fields.optional_binary("evidence", ID_SIZE)
    return Vote(head, rollout, stage, None if evidence is None else Digest(evidence), read_extra(fields))
