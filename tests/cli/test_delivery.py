"""A signed record is offered until it is on three disks: the node first spoken to may die, refuse, or hang."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.lowlevel
import workshop

from faramesh_cli import delivery
from faramesh_cli.delivery import Courier, Delivery
from faramesh_cli.peers import Identity
from faramesh_mesh.records.ids import NO_MESH, KeyId, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.runtime.control.answers import OfferOutcome
from faramesh_mesh.runtime.control.errors import Unreachable
from faramesh_mesh.state.record_set import RecordSet


@dataclass
class Peer:
    """A node that takes, refuses, hangs or is gone."""

    target: str
    temper: str = "takes"
    lacks: tuple[Record, ...] = ()
    offered: list[tuple[bytes, ...]] = field(default_factory=list)

    @property
    def node(self) -> KeyId:
        return KeyId(self.target.encode().ljust(16))

    async def behind(self, _records: RecordSet) -> tuple[Record, ...]:
        return self.lacks

    async def offer(
        self, records: tuple[bytes, ...], *, bodies: tuple[bytes, ...]
    ) -> tuple[OfferOutcome, ...]:
        self.offered.append(records)
        await trio.lowlevel.checkpoint()
        match self.temper:
            case "refuses":
                return (OfferOutcome(None, Rejected(Reason.UNKNOWN_KEY), False),)
            case "refuses the past":
                before = [OfferOutcome(None, Rejected(Reason.OVER_QUOTA), False)] * len(self.lacks)
                return (
                    *before,
                    *(OfferOutcome(RecordId(bytes(32)), None, False) for _ in records[len(before) :]),
                )
            case "hangs":
                await trio.sleep_forever()
            case "gone":
                raise Unreachable(f"{self.target}: gone")
        return tuple(
            OfferOutcome(RecordId(bytes(32)), None, self.temper == "has it") for _ in (*records, *bodies)
        )


async def delivered(
    monkeypatch: pytest.MonkeyPatch,
    peers: Sequence[Peer],
    alive: int | None = None,
    past: RecordSet | None = None,
) -> Delivery:
    by_target = {peer.target: peer for peer in peers}

    @asynccontextmanager
    async def connect(target: str, *_: object) -> AsyncIterator[Peer]:
        peer = by_target[target]
        if peer.temper == "gone":
            raise Unreachable(f"{target}: gone")
        yield peer

    monkeypatch.setattr(delivery, "connect", connect)
    identity = Identity(NO_MESH, None, None, None)
    courier = Courier(identity, (b"kill",), (), len(peers), len(peers) if alive is None else alive, past)
    return await courier.deliver(peers[0], [peer.target for peer in peers])  # type: ignore[arg-type]


async def test_it_ends_with_three(monkeypatch: pytest.MonkeyPatch):
    peers = [Peer(f"m{number}") for number in range(9)]
    result = await delivered(monkeypatch, peers)
    assert (result.durable, result.nodes, result.is_enough, result.news) == (3, 9, True, True)
    assert sum(len(peer.offered) for peer in peers) < len(peers)


async def test_the_node_first_spoken_to_may_be_gone(monkeypatch: pytest.MonkeyPatch):
    peers = [Peer("m0", "gone"), Peer("m1", "gone"), *(Peer(f"m{number}") for number in range(2, 6))]
    assert (await delivered(monkeypatch, peers)).durable == 3


async def test_a_node_that_refuses_is_not_counted_and_is_named(monkeypatch: pytest.MonkeyPatch):
    result = await delivered(monkeypatch, [Peer("m0", "refuses"), Peer("m1"), Peer("m2")])
    assert (result.durable, result.is_enough) == (2, False)
    assert result.refused == Rejected(Reason.UNKNOWN_KEY)


async def test_the_dead_are_not_waited_for(monkeypatch: pytest.MonkeyPatch, autojump_clock: object):
    started = trio.current_time()
    result = await delivered(monkeypatch, [Peer("m0"), Peer("m1", "hangs"), Peer("m2")], alive=2)
    assert (result.durable, result.is_enough) == (2, False)
    assert trio.current_time() == started


async def test_those_that_hang_are_waited_for_a_few_seconds(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
):
    started = trio.current_time()
    result = await delivered(monkeypatch, [Peer("m0", "hangs"), Peer("m1"), Peer("m2")])
    assert result.durable == 2
    assert trio.current_time() - started == pytest.approx(delivery.SECONDS)


async def test_nodes_that_hang_keep_a_record_from_none_of_the_others(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
):
    """Fails with two rows only: as many hostile nodes and the one first spoken to would be all that are tried."""
    hostile = [Peer(f"m{number}", "hangs") for number in range(5)]
    result = await delivered(monkeypatch, [*hostile, *(Peer(f"m{number}") for number in range(5, 9))])
    assert result.durable == 3
    assert trio.current_time() < delivery.SECONDS + 0.1


async def test_it_is_no_news_to_nodes_that_had_it(monkeypatch: pytest.MonkeyPatch):
    result = await delivered(monkeypatch, [Peer(f"m{number}", "has it") for number in range(3)])
    assert (result.durable, result.news) == (3, False)


@pytest.mark.parametrize("temper", ["takes", "refuses the past"])
async def test_a_node_that_lacks_the_signers_past_is_given_it(monkeypatch: pytest.MonkeyPatch, temper: str):
    # Defence: Courier offers what `behind` names. The node that showed it to the signer may show it to nobody else.
    shop = workshop.Workshop()
    withheld = shop.kill("instance=a")
    peers = [Peer("m0"), Peer("m1", temper, (withheld,)), Peer("m2")]
    result = await delivered(monkeypatch, peers, past=shop.records)
    assert result.durable == 3
    assert [peer.offered for peer in peers] == [[(b"kill",)], [(withheld.envelope, b"kill")], [(b"kill",)]]


async def test_a_kill_is_offered_without_asking_what_is_lacking(monkeypatch: pytest.MonkeyPatch):
    withheld = workshop.Workshop().kill("instance=a")
    peers = [Peer(f"m{number}", lacks=(withheld,)) for number in range(3)]
    assert (await delivered(monkeypatch, peers)).durable == 3
    assert [peer.offered for peer in peers] == [[(b"kill",)]] * 3
