"""A node that the operator's client asks may lie about what was signed. What it can do is withhold, no more."""

import pytest
import workshop

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.rejection import Reason
from faramesh_mesh.runtime.control.answers import IdPage, RecordPage
from faramesh_mesh.runtime.control.client import ControlClient
from faramesh_mesh.runtime.control.errors import Untrusted
from faramesh_mesh.runtime.control.holdings import Held
from faramesh_mesh.runtime.links import TlsStream
from faramesh_mesh.state.authoring import next_head
from faramesh_mesh.state.record_set import RecordSet


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


async def test_an_invented_past_is_refused_and_nothing_signed_after_refers_to_it():
    """Fails when `pull_into` admits what it is given: the next record of the operator would then say, over his own
    signature, that he had seen what nobody signed, and name it as the one before."""
    shop = workshop.Workshop()
    true = shop.enrol("a")
    stranger = workshop.Workshop(workshop.chain_of(workshop.root(workshop.starter_keys(), name="other")))
    kill = shop.kill("instance=a").envelope
    records = RecordSet(shop.chain)
    liar = Liar(
        page(
            true.envelope,
            kill[:-1] + bytes([kill[-1] ^ 1]),
            stranger.kill("*").envelope,
            stranger.enrol("ghost").envelope,
        ),
        ids=(true.id, RecordId(bytes(32))),
    )
    pulled = await liar.pull_into(records)
    assert [each.reason for each in pulled.refused] == [Reason.BAD_SIGNATURE] * 3
    assert [record.id for record in pulled.added] == [true.id]
    assert not pulled.equal
    head = next_head(records, workshop.signer("ops").id, workshop.START)
    assert (head.seq, head.seen) == (1, ((shop.chain.index(workshop.signer("enrol").id), 1),))


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
    records = RecordSet(workshop.Workshop().chain)
    with pytest.raises(Untrusted, match="do not end"):
        await Liar(*(page(following=5) for _ in range(3))).pull_into(records)


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
