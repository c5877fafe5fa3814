"""The driver, with a scripted node: what is carried out in which order, and what a slow or silent peer can do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO

import pytest
import trio
import trio.testing
from runtime.test_links import connected, contexts

from faramesh_mesh.gossip.effects import (
    Answered,
    Changed,
    Close,
    Dial,
    Effect,
    Outcome,
    Persist,
    Ready,
    Send,
    WakeAt,
)
from faramesh_mesh.gossip.events import (
    Connected,
    DialFailed,
    Disconnected,
    Discovered,
    Event,
    LinkId,
    Now,
    Offered,
    Received,
    Tick,
    Writable,
)
from faramesh_mesh.gossip.framing import frame
from faramesh_mesh.runtime import clock, driver
from faramesh_mesh.runtime.driver import DialError, Driver, Opened
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.tls import Lane, Peer

__all__ = ["contexts"]

SECONDS = 20.0
PEER = Peer(Lane.GOSSIP, bytes(32), bytes(32), None, lapsed=False)


@dataclass
class Scripted:
    """A node that does as it is told and remembers what it was told."""

    answer: Callable[[Event], list[Effect]] = lambda _event: []
    waiting: dict[LinkId, list[bytes]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def handle(self, event: Event, now: Now) -> list[Effect]:
        assert now.mono > 0
        if isinstance(event, Writable):
            queue = self.waiting.get(event.link)
            return [Send(event.link, queue.pop(0))] if queue else []
        self.events.append(event)
        return self.answer(event)

    def seen(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Disk:
    """Takes what is to be kept."""

    kept: list[Persist] = field(default_factory=list)

    def persist(self, effect: Persist) -> None:
        self.kept.append(effect)


class Rig:
    """A driver around a scripted node."""

    def __init__(self) -> None:
        self.node = Scripted()
        self.disk = Disk()
        self.trace: list[str] = []
        self.dials: dict[str, Opened] = {}
        self.driver = Driver(
            self.node,
            self.disk,
            Log(StringIO()),
            self.dial,
            lambda: self.trace.append("changed"),
            clock,
        )

    async def dial(self, address: str) -> Opened:
        if address not in self.dials:
            raise DialError("nobody there")
        return self.dials[address]

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(SECONDS):
            while not holds():  # noqa: ASYNC110 - sockets are in between
                await trio.sleep(0.001)


@pytest.fixture
async def rig(nursery):
    rig = Rig()
    await nursery.start(rig.driver.run)
    return rig


async def linked(rig, nursery, contexts):
    """A link of the rig and the peer's end of it."""
    far, near = await connected(contexts)
    nursery.start_soon(rig.driver.serve, (near, PEER))
    await rig.until(lambda: rig.node.seen(Connected))
    return rig.node.seen(Connected)[-1].link, far


async def test_the_gate_hears_of_a_record_before_it_is_sent_on_or_kept(rig, nursery, contexts):
    """Fails when `Changed` is carried out after the writers were woken."""
    link, far = await linked(rig, nursery, contexts)
    order: list[str] = []

    def answer(event):
        if not isinstance(event, Received):
            return []
        rig.node.waiting[link] = [frame(3, b"kill")]
        return [Changed(), Ready(link), Persist(1, ())]

    rig.node.answer = answer
    rig.driver._on_changed = lambda: order.append("gate")
    put = rig.driver._put
    rig.driver._put = lambda *arguments: order.append("sent") or put(*arguments)
    async with far:
        await far.send_all(frame(3, b"kill"))
        with trio.fail_after(SECONDS):
            assert await far.receive_some() == frame(3, b"kill")
        assert order[:2] == ["gate", "sent"]
        assert [kept.batch for kept in rig.disk.kept] == [1]


async def test_all_frames_of_one_receive_are_handled_in_order(rig, nursery, contexts):
    _, far = await linked(rig, nursery, contexts)
    async with far:
        await far.send_all(b"".join(frame(3, bytes([number])) for number in range(100)))
        await rig.until(lambda: len(rig.node.seen(Received)) == 100)
        assert [event.frame for event in rig.node.seen(Received)] == [bytes([3, n]) for n in range(100)]


async def test_a_peer_that_reads_slowly_is_asked_for_nothing_while_its_socket_is_full(rig, nursery, contexts):
    """Fails when frames are queued as bytes: then a kill would wait behind all of them, and memory would grow."""
    link, far = await linked(rig, nursery, contexts)
    bulk = [frame(8, bytes(60_000)) for _ in range(200)]
    rig.node.waiting[link] = list(bulk)
    rig.node.answer = lambda event: [Ready(link)] if isinstance(event, Discovered) else []
    async with far:
        rig.driver.post(Discovered(()))
        await trio.testing.wait_all_tasks_blocked(0.05)
        left = len(rig.node.waiting[link])
        assert left > 100
        rig.node.waiting[link].insert(0, frame(3, b"kill"))
        received = bytearray()
        with trio.fail_after(SECONDS):
            while frame(3, b"kill") not in received[-200_000:]:
                received += await far.receive_some()
        assert len(received) < (200 - left + 3) * 60_003


async def test_a_peer_that_takes_nothing_is_dropped(rig, nursery, contexts, monkeypatch):
    """Fails without the deadline on a full socket."""
    monkeypatch.setattr(driver, "STALL_SECONDS", 0.05)
    link, far = await linked(rig, nursery, contexts)
    rig.node.waiting[link] = [frame(8, bytes(60_000)) for _ in range(200)]
    rig.node.answer = lambda event: [Ready(link)] if isinstance(event, Discovered) else []
    async with far:
        rig.driver.post(Discovered(()))
        await rig.until(lambda: rig.node.seen(Disconnected))
        assert "stalled" in rig.node.seen(Disconnected)[0].why


async def test_a_peer_that_says_nothing_is_dropped(nursery, contexts, monkeypatch):
    monkeypatch.setattr(driver, "SILENCE_NS", 40_000_000)
    rig = Rig()
    await nursery.start(rig.driver.run)
    _, far = await linked(rig, nursery, contexts)
    async with far:
        await rig.until(lambda: rig.node.seen(Disconnected))
        assert "silent" in rig.node.seen(Disconnected)[0].why


async def test_a_close_says_what_was_left_to_say_and_ends_the_link_once(rig, nursery, contexts):
    link, far = await linked(rig, nursery, contexts)
    rig.node.waiting[link] = [frame(13, b"")]
    rig.node.answer = lambda event: [Close(link, "left")] if isinstance(event, Discovered) else []
    async with far:
        rig.driver.post(Discovered(()))
        rig.driver.post(Discovered(()))
        received = b""
        with trio.fail_after(SECONDS):
            while data := await far.receive_some():
                received += data
        assert received == frame(13, b"")
        await rig.until(lambda: rig.node.seen(Disconnected))
        assert [event.why for event in rig.node.seen(Disconnected)] == ["left"]


async def test_dials_end_in_a_connection_or_in_its_absence(rig, nursery, contexts):
    far, near = await connected(contexts)
    rig.dials["m1:7420"] = (near, PEER)
    rig.node.answer = lambda event: (
        [Dial("m1:7420"), Dial("m2:7420")] if isinstance(event, Discovered) else []
    )
    rig.driver.post(Discovered(()))
    await rig.until(lambda: rig.node.seen(Connected) and rig.node.seen(DialFailed))
    assert rig.node.seen(Connected)[0].dialled == "m1:7420"
    assert rig.node.seen(DialFailed)[0].address == "m2:7420"
    await far.aclose()
    await rig.until(lambda: rig.node.seen(Disconnected))


async def test_the_alarm_rings_when_it_was_set_and_can_be_moved(rig):
    rang: list[int] = []
    first, second = clock.mono_ns() + 60_000_000_000, clock.mono_ns() + 30_000_000
    alarms = [first, second]

    def answer(event):
        if isinstance(event, Tick):
            rang.append(clock.mono_ns())
        return [WakeAt(alarms.pop(0))] if isinstance(event, Discovered) else []

    rig.node.answer = answer
    rig.driver.post(Discovered(()))
    rig.driver.post(Discovered(()))
    await rig.until(lambda: rang)
    assert rang[0] >= second - 2_000_000


async def test_an_offer_waits_for_its_answer(rig, nursery):
    outcome = Outcome(None, None)
    tickets: list[int] = []

    def answer(event):
        if isinstance(event, Offered):
            tickets.append(event.ticket)
        return [Answered(tickets[0], (outcome,))] if isinstance(event, Discovered) else []

    rig.node.answer = answer
    found = []

    async def offer():
        found.extend(await rig.driver.offer((b"record",)))

    nursery.start_soon(offer)
    await rig.until(lambda: tickets)
    assert found == []
    rig.driver.post(Discovered(()))
    await rig.until(lambda: found)
    assert found == [outcome]


async def test_an_event_from_within_an_effect_waits_for_its_turn(rig):
    def changed():
        rig.driver.post(Tick())
        assert rig.node.events[-1] == Discovered(("x",))

    rig.driver._on_changed = changed
    rig.node.answer = lambda event: [Changed()] if isinstance(event, Discovered) else []
    rig.driver.post(Discovered(("x",)))
    assert rig.node.events[-1] == Tick()
