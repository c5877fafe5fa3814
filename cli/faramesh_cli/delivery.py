"""Offering signed records to several nodes at once, until enough of them hold them on disk: the node first
spoken to may die the next moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from faramesh_cli.peers import Identity
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.control.client import ControlClient, connect
from faramesh_mesh.runtime.control.errors import ControlError
from faramesh_mesh.state.record_set import RecordSet

ENOUGH = 3
"""Nodes on whose disks a record must be before the client stops: two may die at once."""
SECONDS = 6.0
"""How long nodes are tried. The record stays in the outbox and is offered again by the next command."""

_ANOTHER_ROW = 0.5
"""Seconds after which one node more is tried at the same time: three that keep silent would hold up all rows."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Offered records are durable on `durable` nodes of `nodes`. `refused` is why a node did not take one;
    `news` whether any node that was asked did not hold all of them before."""

    durable: int
    nodes: int
    refused: Rejected | None
    news: bool

    @property
    def is_enough(self) -> bool:
        """Whether the mesh keeps them whatever happens to the node first spoken to."""
        return self.durable >= min(ENOUGH, self.nodes)

    def __str__(self) -> str:
        return f"durable on {self.durable} of {self.nodes}"


@dataclass(slots=True)
class Courier:
    """One delivery: what is offered, and who has it. `nodes` are all that are enrolled; it ends early with
    `ENOUGH` of them, or as many as may be `alive`: waiting for the dead would hold up whoever gives the next
    command."""

    identity: Identity
    envelopes: tuple[bytes, ...]
    bodies: tuple[bytes, ...]
    nodes: int
    alive: int
    past: RecordSet | None = None
    """What the signer had seen, where what he signed waits for it: a node that lacks some of it is given that too."""
    _holders: set[KeyId] = field(default_factory=set)
    _refused: list[Rejected] = field(default_factory=list)
    _troubles: list[str] = field(default_factory=list)
    _news: bool = False

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong on the way, for people."""
        return tuple(self._troubles)

    async def deliver(self, first: ControlClient, others: Sequence[str]) -> Delivery:
        """Offer to the node that is connected and, at the same time, to others one after the other in two rows, and in
        one more each half second."""
        waiting = [target for target in others if target != first.target]
        with trio.move_on_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._offer_first, first, nursery.cancel_scope)
                for _ in range(ENOUGH - 1):
                    nursery.start_soon(self._offer_to, waiting, first.node, nursery.cancel_scope)
                while waiting:
                    await trio.sleep(_ANOTHER_ROW)
                    nursery.start_soon(self._offer_to, waiting, first.node, nursery.cancel_scope)
        return self._delivery()

    def _delivery(self) -> Delivery:
        refused = self._refused[0] if self._refused else None
        return Delivery(len(self._holders), self.nodes, refused, self._news)

    async def _offer_first(self, first: ControlClient, finished: trio.CancelScope) -> None:
        """The open connection is used further, so nothing may break off in the middle of an answer."""
        with trio.move_on_after(SECONDS, shield=True):
            await self._offer(first, finished)

    async def _offer_to(self, waiting: list[str], first: KeyId, finished: trio.CancelScope) -> None:
        while waiting:
            target = waiting.pop(0)
            try:
                async with connect(
                    target, self.identity.mesh, self.identity.signer, self.identity.chain
                ) as client:
                    if client.node not in self._holders and client.node != first:
                        await self._offer(client, finished)
            except (ControlError, ValueError) as error:
                self._troubles.append(str(error))

    async def _offer(self, client: ControlClient, finished: trio.CancelScope) -> None:
        try:
            past = () if self.past is None else await client.behind(self.past)
            before = tuple(record.envelope for record in past)
            outcomes = (await client.offer((*before, *self.envelopes), bodies=self.bodies))[len(before) :]
        except ControlError as error:
            self._troubles.append(str(error))
            return
        refused = next((outcome.rejected for outcome in outcomes if outcome.rejected is not None), None)
        if refused is not None:
            self._refused.append(refused)
            return
        self._holders.add(client.node)
        self._news = self._news or not all(outcome.duplicate for outcome in outcomes[: len(self.envelopes)])
        if len(self._holders) >= min(ENOUGH, self.alive):
            finished.cancel()
