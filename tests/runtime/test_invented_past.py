"""A node that the operator's client asks may lie about what was signed. What it can do is withhold, no more."""

import os
from collections.abc import Iterable

import pytest
import workshop

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.rejection import Reason
from faramesh_mesh.runtime.control.answers import Answer, Hearing, IdPage, RecordPage, StatusEntry, StatusPage
from faramesh_mesh.runtime.control.client import ControlClient
from faramesh_mesh.runtime.control.errors import Untrusted
from faramesh_mesh.runtime.control.holdings import Held
from faramesh_mesh.runtime.control.intake import MAX_USELESS
from faramesh_mesh.runtime.links import TlsStream
from faramesh_mesh.state.authoring import next_head
from faramesh_mesh.state.record_set import RecordSet

ENOUGH = 100
"""Answers of a liar after which it is plain that nobody will leave him."""


class Liar(ControlClient):
    """A connection to a node that answers with these pages, whatever it is asked for, and claims to hold `ids`."""

    def __init__(self, *pages: RecordPage, ids: tuple[RecordId, ...] = ()) -> None:
        super().__init__(_NO_STREAM, "liar:1")
        self._pages = list(pages)
        self._ids = ids

    async def pull(self, *_question: object) -> RecordPage:  # type: ignore[override]  # any question
        return self._pages.pop(0)

    async def ids(self, start: int = 0) -> IdPage:  # noqa: ARG002
        return IdPage(self._ids, None)

    async def fetch(self, ids: tuple[RecordId, ...]) -> tuple[bytes, ...]:  # noqa: ARG002
        return ()


_NO_STREAM: TlsStream = object()  # type: ignore[assignment]  # never touched: each question is answered above


def page(*envelopes: bytes, roots: tuple[bytes, ...] = (), following: int | None = None) -> RecordPage:
    return RecordPage(roots, envelopes, following, len(envelopes), bytes(16))


@pytest.mark.parametrize("forged", ["turned bit", "kill of another mesh", "enrolment of another mesh"])
async def test_an_invented_past_is_refused_and_nothing_signed_after_refers_to_it(forged: str):
    """Fails when `pull_into` admits what it is given: the next record of the operator would then say, over his own
    signature, that he had seen what nobody signed, and name it as the one before. And fails when the pull goes on after
    it: each costs the liar nothing, and the operator a verification."""
    shop = workshop.Workshop()
    true = shop.enrol("a")
    stranger = workshop.Workshop(workshop.chain_of(workshop.root(workshop.starter_keys(), name="other")))
    kill = shop.kill("instance=a").envelope
    invented = {
        "turned bit": kill[:-1] + bytes([kill[-1] ^ 1]),
        "kill of another mesh": stranger.kill("*").envelope,
        "enrolment of another mesh": stranger.enrol("ghost").envelope,
    }[forged]
    records = RecordSet(shop.chain)
    liar = Liar(page(true.envelope, invented, following=2))
    with pytest.raises(Untrusted, match="does not verify: bad signature"):
        await liar.pull_into(records)
    assert [record.id for record in records.in_order()] == [true.id]
    head = next_head(records, workshop.signer("ops").id, workshop.START)
    assert (head.seq, head.seen) == (1, ((shop.chain.index(workshop.signer("enrol").id), 1),))


async def test_what_a_newer_node_sends_is_left_out_and_bounded():
    """A record of a key that no root held here names ends nothing; records of such keys without end do."""
    shop = workshop.Workshop()
    true = shop.enrol("a")
    keys = (*workshop.starter_keys(), workshop.role_key("new", workshop.OPERATOR))
    other = workshop.Workshop(workshop.chain_of(workshop.root(keys)))
    unknown = other.kill("instance=a", by="new").envelope
    records = RecordSet(shop.chain)
    pulled = await Liar(page(unknown, true.envelope)).pull_into(records)
    assert [each.reason for each in pulled.refused] == [Reason.UNKNOWN_KEY]
    assert [record.id for record in pulled.added] == [true.id]
    assert not pulled.equal
    with pytest.raises(Untrusted, match="does not verify"):
        await Liar(page(*(unknown,) * (MAX_USELESS + 1))).pull_into(records)


async def test_an_invented_root_ends_the_connection():
    """Fails when the client takes roots on a node's word: with its own keys in the root, all it says would hold."""
    shop = workshop.Workshop()
    records = RecordSet(shop.chain)
    invented = workshop.seal(
        workshop.root((workshop.role_key("evil", workshop.OPERATOR),)), shop.chain.mesh, ("evil",)
    )
    with pytest.raises(Untrusted, match="roots was refused"):
        await Liar(page(roots=(invented,))).pull_into(records)
    assert records.chain is shop.chain


async def test_a_past_without_end_is_left():
    """Fails without the check that pages go on: a liar could keep the operator's client busy for ever."""
    shop = workshop.Workshop()
    true, records = shop.enrol("a").envelope, RecordSet(shop.chain)
    with pytest.raises(Untrusted, match="do not end"):
        await Liar(*(page(true, following=5) for _ in range(3))).pull_into(records)


@pytest.mark.parametrize("says", ["nothing", "the same again", "the same root again"])
async def test_pages_that_go_on_and_bring_nothing_are_left(says: str):
    """Fails when it is enough that the place of the next page goes up: it may do so for ever."""
    shop = workshop.Workshop()
    true, root = shop.enrol("a").envelope, shop.chain.documents[0]
    asked = 0

    class Endless(Liar):
        async def pull(self, *_question: object) -> RecordPage:  # type: ignore[override]  # any question
            nonlocal asked
            asked += 1
            assert asked < ENOUGH
            match says:
                case "nothing":
                    return page(following=asked)
                case "the same again":
                    return page(true, following=asked)
                case _:
                    return page(roots=(root,), following=asked)

    with pytest.raises(Untrusted, match="do not end"):
        await Endless().pull_into(RecordSet(shop.chain))
    assert asked <= 2


@pytest.mark.parametrize("names", ["nothing", "what is held", "what nobody signed"])
async def test_ids_without_end_are_left(names: str):
    """Fails when ids are collected until the node says that there are no more."""
    shop = workshop.Workshop()
    true = shop.enrol("a")
    asked = 0

    class Endless(Liar):
        async def ids(self, start: int = 0) -> IdPage:
            nonlocal asked
            asked += 1
            assert asked < ENOUGH
            match names:
                case "nothing":
                    found: tuple[RecordId, ...] = ()
                case "what is held":
                    found = (true.id,)
                case _:
                    found = tuple(RecordId(os.urandom(32)) for _ in range(100))
            return IdPage(found, start + 1)

    with pytest.raises(Untrusted, match=r"do not end|does not send"):
        await Endless(page(true.envelope)).pull_into(RecordSet(shop.chain))
    assert asked <= 3


class Speaking(ControlClient):
    """A connection to a node that answers anything with the next of these."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        super().__init__(_NO_STREAM, "liar:1")
        self._answers = iter(answers)

    async def _ask(self, *_question: object) -> Answer:  # type: ignore[override]  # any question
        return next(self._answers)


def statuses(*nodes: int, more: bool = True) -> StatusPage:
    """A page of statuses that nobody signed, of nodes with these numbers."""
    slots = (number.to_bytes(16) + bytes(64) for number in nodes)
    return StatusPage(tuple(StatusEntry(slot, Hearing.ALIVE, 0) for slot in slots), more)


@pytest.mark.parametrize(
    "pages",
    [
        (statuses(3, 4) for _ in range(ENOUGH)),
        (statuses(number) for number in range(1, ENOUGH)),
        (statuses(2, 1) for _ in range(ENOUGH)),
        (StatusPage((StatusEntry(b"", Hearing.ALIVE, 0),), more=True) for _ in range(ENOUGH)),
    ],
    ids=["the same page", "ever further nodes", "out of order", "no node"],
)
async def test_statuses_without_end_are_left(pages: Iterable[StatusPage]):
    """Fails when pages need not ascend, or when there may be any number: 100 MiB a second of the operator's memory."""
    with pytest.raises(Untrusted, match="statuses do not end"):
        await Speaking(pages).statuses(20)


async def test_statuses_of_all_nodes_come_in_pages():
    answers = (statuses(0, 1, 2), statuses(3, more=False))
    assert len(await Speaking(answers).statuses(4)) == 4


async def test_more_records_than_were_asked_for_are_refused():
    with pytest.raises(Untrusted, match="more records than it was asked for"):
        await Speaking([page(b"a", b"b")]).fetch((RecordId(bytes(32)),))


class Miscounting(ControlClient):
    """A connection to a node that says of so many records that they are on its disk, however many it is asked about."""

    def __init__(self, answers: int) -> None:
        super().__init__(_NO_STREAM, "liar:1")
        self._answers = answers

    async def _ask(self, *_question: object) -> Held:  # type: ignore[override]  # only this is asked here
        return Held((False,) * self._answers, ())


@pytest.mark.parametrize("answers", [0, 1, 3])
async def test_an_answer_about_other_records_than_were_asked_for_is_refused(answers):
    """Fails when `holds` takes what comes: its reader would run off the end of the answer, in the middle of a delivery."""
    shop = workshop.Workshop()
    shop.enrol("a")
    shop.kill("instance=a")
    with pytest.raises(Untrusted, match="asked about 2 records"):
        await Miscounting(answers).behind(shop.records)
