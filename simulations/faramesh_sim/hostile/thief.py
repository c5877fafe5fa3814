"""Hostile with a stolen key: forks of what its owner signed, handed in like any record."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.selector import parse
from faramesh_mesh.state.authoring import head_of_kill
from faramesh_mesh.trust.admission import sign_control
from faramesh_sim.keys import signer_of

if TYPE_CHECKING:
    from faramesh_sim.network import End
    from faramesh_sim.process import Process

_ONE_IN = 3


class Thief:
    """Every few seconds signs a kill under a number that the key's owner has used: equivocation. Restrictions alone: with a key
    that grants, whoever holds it is the operator, and nothing that he does is wrong. Once the chaos is over he signs no more: a fork
    beyond those that are kept goes round by reconciliation alone, and what was signed a second ago is not everywhere."""

    def __init__(self, rng: Rng, key: str) -> None:
        self._rng = rng
        self._key = key

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame itself."""
        return (frame,)

    def turn(self, process: "Process") -> None:
        """Perhaps a fork."""
        world = process.machine.world
        if self._rng.below(_ONE_IN) or world.chaos_over:
            return
        signer = signer_of(world.seed, self._key)
        records = process.node.records
        head = head_of_kill(records, signer.id, world.wall)
        if head.seq > 1:
            before = records.slot(signer.id, head.seq - 1)[0]
            head = replace(head, seq=before.head.seq, prev=before.head.prev)
        agent = self._rng.choice(world.machines).name
        kill = Kill(head, parse(f"instance={agent}"), (), "stolen", 0, NO_EXTRA)
        record: Record = sign_control(Kind.KILL, kill, records.chain.mesh, signer)
        world.signed(record, f"a thief with {self._key}", stolen=True)
        process.offer((record.envelope,), (), (), lambda _outcomes: None)
