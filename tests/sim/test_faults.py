"""Each fault does what it says: seen from outside, in a fleet of six, and not there without it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import pytest
from sim.small import calm

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import MessageType, Neighbours, Pong
from faramesh_mesh.gossip.wire import read
from faramesh_mesh.records.kind import Kind
from faramesh_sim.clocks import MILLION
from faramesh_sim.delays import Delay, Dist
from faramesh_sim.faults import (
    BadDisk,
    Churn,
    Clock,
    Crash,
    DiskFate,
    Fault,
    Hang,
    Hostile,
    Hostility,
    Impair,
    Lapse,
    Partition,
    Slow,
)
from faramesh_sim.inject import _names
from faramesh_sim.machine import Machine
from faramesh_sim.network import End, Network
from faramesh_sim.ops import Join, KillAgents, Op, Promote, Push
from faramesh_sim.run import Options, Run
from faramesh_sim.targets import parse_target as target
from faramesh_sim.world import World

AT, LASTS = 1 * SECOND, 8 * SECOND
EU, US, ONE = target("eu"), target("us"), target("n01")
KILL = KillAgents(AT + SECOND, EU, ("killer",), "k1", "n05")
KILL_IN_US = replace(KILL, via=US)


@dataclass
class Seen:
    """A run, and the frames that were really sent and came in, in order: (machine, connection, frame)."""

    run: Run
    sent: list[tuple[str, End, bytes]] = field(default_factory=list)
    came: list[tuple[End, bytes]] = field(default_factory=list)
    start: int = 0

    @property
    def world(self) -> World:
        return self.run.world

    def machine(self, name: str) -> Machine:
        found = self.world.machine(name)
        assert found is not None
        return found

    def holders(self, name: str = "k1") -> set[str]:
        """The machines whose nodes hold a record."""
        record = self.world.ledger.names[name]
        return {
            each.name for each in self.world.up if each.process and record.id in each.process.node.records
        }

    def round_trip(self) -> int:
        """The longest that any link has measured."""
        return max(
            peer.round_trip for each in self.world.up if each.process for peer in each.process.node.peers()
        )

    def said(self, name: str) -> list[bytes]:
        return [frame for who, _, frame in self.sent if who == name]


def look(*what: Fault | Op, seconds: float = 5.0) -> Seen:
    """A run, so many seconds after its chaos began."""
    scenario = replace(
        calm(),
        chaos=20 * SECOND,
        ops=tuple(each for each in what if isinstance(each, Op)),
        faults=tuple(each for each in what if isinstance(each, Fault)),
    )
    run = Run(scenario, 1, Options(stop_at_first=False))
    seen = Seen(run)
    send, deliver = Network.send, Network._deliver

    def watched_send(self: Network, end: End, frame: bytes) -> None:
        if seen.start:
            seen.sent.append((end.process.machine.name, end, frame))
        send(self, end, frame)

    def watched_deliver(self: Network, end: End, frame: bytes) -> None:
        if seen.start:
            seen.came.append((end, frame))
        deliver(self, end, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "send", watched_send)
        patch.setattr(Network, "_deliver", watched_deliver)
        for until in run.story():
            if run.world.chaos_over or (seen.start and until > seen.start + int(seconds * SECOND)):
                break
            if not seen.start and run.world.engine.now >= scenario.warmup and run._is_calm():
                seen.start = run.world.engine.now
            run.world.engine.run_until(until)
    return seen


@cache
def undisturbed(*ops: Op, seconds: float) -> Seen:
    """The same without a fault. Not to be changed: many compare with it."""
    return look(*ops, seconds=seconds)


def cut(**more: object) -> Partition:
    return Partition(AT, LASTS, EU, US, **more)  # type: ignore[arg-type]


def impaired(**more: object) -> Impair:
    return Impair(AT, LASTS, EU, US, **more)  # type: ignore[arg-type]


IN_EU, IN_US = {"n00", "n02", "n04"}, {"n01", "n03", "n05"}
CHECKS: dict[str, tuple[tuple[Fault | Op, ...], Callable[[Seen], bool], float]] = {
    "partition": ((cut(), KILL), lambda seen: seen.holders() == IN_EU, 4),
    "partition one way": (
        (cut(oneway=True), KILL, replace(KILL_IN_US, by=("ops3",), name="k2", selector="n03")),
        lambda seen: seen.holders() == IN_EU and seen.holders("k2") == IN_EU | IN_US,
        4,
    ),
    "partition with resets": (
        (cut(reset=True),),
        lambda seen: (
            not any(
                end.other and (end.process.machine.region != end.other.process.machine.region)
                for each in seen.world.up
                if each.process
                for end in each.process.ends.values()
            )
        ),
        1.5,
    ),
    "partition that flaps": (
        (cut(flap=2 * SECOND), KILL),
        lambda seen: seen.holders() == IN_EU | IN_US and seen.world.faults_open == 1,
        6,
    ),
    "extra delay": (
        (impaired(extra=Delay(Dist.FIXED, 700 * MILLISECOND)),),
        lambda seen: seen.round_trip() > 300 * MILLISECOND,
        6,
    ),
    "loss": ((impaired(loss=MILLION * 7 // 10),), lambda seen: seen.round_trip() > 200 * MILLISECOND, 6),
    "bandwidth": ((impaired(bandwidth=300),), lambda seen: seen.round_trip() > 200 * MILLISECOND, 6),
    "spoilt frames": (
        (impaired(broken=MILLION),),
        lambda seen: any(frame[PREFIX_SIZE] == MessageType.HELLO for _, _, frame in seen.sent),
        4,
    ),
    "dropped frames": (
        (impaired(dropped=MILLION // 2),),
        lambda seen: len(seen.sent) - len(seen.came) > 20,
        5,
    ),
    "doubled frames": (
        (impaired(doubled=MILLION // 2),),
        lambda seen: len(seen.came) - len(seen.sent) > 20,
        5,
    ),
    "swapped frames": (
        (impaired(swapped=MILLION // 2), KILL, Push(AT + SECOND, US, ("ops",), "r1")),
        lambda seen: _overtaken(seen),  # noqa: PLW0108 - it stands below
        5,
    ),
    "crash": ((Crash(AT, LASTS, ONE),), lambda seen: seen.machine("n01").process is None, 3),
    "crash that heals": (
        (Crash(AT, SECOND, ONE),),
        lambda seen: seen.machine("n01")._lives == 2 and seen.machine("n01").process is not None,
        4,
    ),
    "orderly stop": (
        (Crash(AT, LASTS, ONE, graceful=True),),
        lambda seen: seen.machine("n01").disk.load().meta.get("clean") == b"1",
        3,
    ),
    "churn": (
        (Churn(AT, LASTS, US, SECOND, SECOND // 2),),
        lambda seen: sum(each._lives for each in seen.world.machines) > len(seen.world.machines) + 2,
        7,
    ),
    "hang": (
        (Hang(AT, LASTS, ONE), KILL),
        lambda seen: "n01" not in seen.holders() and seen.machine("n01").process is not None,
        4,
    ),
    "suspended host": (
        (Hang(AT, LASTS, ONE, host=True), KILL),
        lambda seen: "n01" not in seen.holders() and seen.machine("n01").process.suspended,
        4,
    ),
    "slow": (
        (Slow(AT, LASTS, ONE, 300 * MILLISECOND), KILL),
        lambda seen: len(seen.machine("n01").process._waiting) > 0,
        3,
    ),
    "clock jump": (
        (Clock(AT, LASTS, ONE, 3_600_000),),
        lambda seen: seen.machine("n01").clock.wall_ms() - seen.world.wall == 3_600_000,
        2,
    ),
    "clock drift": (
        (Clock(AT, LASTS, ONE, 0, 50_000),),
        lambda seen: 100 < seen.machine("n01").clock.wall_ms() - seen.world.wall < 300,
        5,
    ),
    "full disk": (
        (BadDisk(AT, LASTS, ONE, full=True), KILL),
        lambda seen: (
            seen.world.ledger.names["k1"].id not in set(seen.machine("n01").disk.record_ids())
            and "n01" in seen.holders()
        ),
        5,
    ),
    "slow disk": (
        (BadDisk(AT, LASTS, ONE, fsync=3 * SECOND), KILL),
        lambda seen: seen.machine("n01").process.storage.busy and "n01" in seen.holders(),
        3,
    ),
    "lapsed certificate": (
        (Lapse(AT, LASTS, ONE), Partition(AT, SECOND, ONE, target("rest"), reset=True)),
        lambda seen: any(
            peer.limited and peer.node == seen.machine("n01").signer.id
            for peer in seen.machine("n00").process.node.peers()
        ),
        5,
    ),
    "mass join": (
        (Join(AT, EU, ("enrol",), "us", 5),),
        lambda seen: len(seen.world.up) == 11 and all(each.process.is_ready() for each in seen.world.up),
        8,
    ),
}
FATES: dict[DiskFate, Callable[[set[bytes], set[bytes]], bool]] = {
    DiskFate.KEPT: lambda before, after: after == before,
    DiskFate.APPLIED: lambda before, after: after == before,
    DiskFate.LOST: lambda before, after: after < before,
    DiskFate.OLDER: lambda before, after: after < before,
    DiskFate.DAMAGED: lambda before, after: len(before - after) <= 1,
    DiskFate.WIPED: lambda _, after: not after,
}
HOSTILE: dict[Hostility, Callable[[Seen], bool]] = {
    Hostility.WITHHOLD: lambda seen: _types(seen, "n01").isdisjoint({MessageType.URGENT, MessageType.PAGE}),
    Hostility.SILENCE: lambda seen: _types(seen, "n01") <= {MessageType.HELLO, MessageType.LEAVE},
    Hostility.SELECT: lambda seen: (
        MessageType.URGENT not in _types(seen, "n01") and MessageType.RECORDS in _types(seen, "n01")
    ),
    Hostility.REPLAY: lambda seen: _says_again(seen, "n01"),
    Hostility.FLOOD: lambda seen: sum(map(len, seen.said("n01"))) > 4 * sum(map(len, seen.said("n03"))),
    Hostility.LIE: lambda seen: any(
        isinstance(message := read(frame[PREFIX_SIZE:]), Pong)
        and message.held.fingerprint != seen.machine("n00").process.node.records.trie.fingerprint
        for frame in seen.said("n01")[-40:]
    ),
    Hostility.FORGE: lambda seen: seen.machine("n00").process.refusals > 0,
    Hostility.GARBLE: lambda seen: sum(each.process.refusals for each in seen.world.honest) > 0,
    Hostility.ECLIPSE: lambda seen: any(
        isinstance(message := read(frame[PREFIX_SIZE:]), Neighbours)
        and {peer.node for peer in message.peers} <= {seen.machine("n01").signer.id}
        for frame in seen.said("n01")
    ),
}


def _types(seen: Seen, name: str) -> set[int]:
    return {frame[PREFIX_SIZE] for frame in seen.said(name)}


def _says_again(seen: Seen, name: str) -> bool:
    """Whether it said the same thing twice over one connection. An honest node never does, but for pings."""
    small_talk = {MessageType.PING, MessageType.PONG, MessageType.WANT_STATUSES}
    said = [
        (id(end), frame)
        for who, end, frame in seen.sent
        if who == name and frame[PREFIX_SIZE] not in small_talk
    ]
    return len(said) > len(set(said))


def _overtaken(seen: Seen) -> bool:
    """Whether on some connection a frame came in before one that was sent earlier."""
    for wanted in {id(end) for end, _ in seen.came}:
        sent = [id(frame) for _, end, frame in seen.sent if id(end) == wanted]
        places = {frame: at for at, frame in enumerate(sent)}
        came = [places[id(frame)] for end, frame in seen.came if id(end) == wanted and id(frame) in places]
        if came != sorted(came):
            return True
    return False


@pytest.mark.parametrize("name", CHECKS)
def test_a_fault_does_what_it_says(name):
    what, does, seconds = CHECKS[name]
    assert does(look(*what, seconds=seconds)), name
    calm_ops = tuple(each for each in what if isinstance(each, Op) and not isinstance(each, Join))
    assert not does(undisturbed(*calm_ops, seconds=seconds)), f"{name}: seen without it too"


@pytest.mark.parametrize("fate", DiskFate)
def test_a_crash_leaves_of_a_disk_what_it_says(fate):
    pushed = Push(AT, EU, ("ops",), "r1")
    before = undisturbed(pushed, KILL, seconds=4)
    after = look(pushed, KILL, Crash(AT + 3 * SECOND, LASTS, ONE, fate), seconds=5)
    held = [set(seen.machine("n01").disk.record_ids()) for seen in (before, after)]
    assert FATES[fate](*held), fate
    assert (after.machine("n01").forgot_at >= 0) is (fate not in (DiskFate.KEPT, DiskFate.APPLIED))
    if fate is DiskFate.DAMAGED:
        assert after.machine("n01").disk.load().damaged


@pytest.mark.parametrize("applied", [False, True])
def test_a_transaction_under_way_is_there_or_not(applied):
    seen = look(KILL, BadDisk(AT, LASTS, ONE, fsync=5 * SECOND), seconds=3)
    machine = seen.machine("n01")
    assert machine.process.storage.busy
    machine.crash(applied=applied)
    assert (seen.world.ledger.names["k1"].id in set(machine.disk.record_ids())) is applied


@pytest.mark.parametrize("lasts", [LASTS, SECOND // 2])
def test_a_fault_aimed_at_an_instant_lies_in_wait_for_it_as_long_as_it_lasts(lasts):
    # Defence: `inject._lies_in_wait`. Nobody writes when the fault begins; the kill a second later is what it waits for.
    seen = look(Crash(AT, lasts, target("syncing")), KILL, seconds=4)
    assert (seen.world.marks.counts.get("a machine crashed between append and sync", 0) > 0) is (
        lasts > SECOND
    )


def test_what_nobody_took_is_offered_again_with_what_its_operator_signs_next():
    # Defence: `Operations._outboxes`. The plan's record came with the kill, as its past; its policy did not, and nobody had it.
    alone = Partition(AT, SECOND, target("all"), target("all"))
    push = Push(AT + SECOND // 2, US, ("ops",), "r1")
    seen = look(alone, push, KillAgents(AT + 3 * SECOND, EU, ("ops",), "k1", "n05"), seconds=6)
    body = seen.world.ledger.names["r1"].payload.roster
    assert seen.holders("r1") == seen.holders("k1") == {f"n{at:02}" for at in range(6)}
    assert all(body in each.process.node.bodies for each in seen.world.up)


@pytest.mark.parametrize("does", Hostility)
def test_a_hostile_machine_does_what_it_says(does):
    ops = (KILL_IN_US, Push(AT + SECOND, US, ("ops",), "r1"), Promote(AT + 2 * SECOND, US, ("ops",), "r1"))
    away = Partition(AT, SECOND, ONE, target("rest"), reset=True)  # and then it is asked for neighbours
    what = (*ops, away) if does is Hostility.ECLIPSE else ops
    assert HOSTILE[does](look(Hostile(1, ONE, (does,)), *what, seconds=12)), does
    assert not HOSTILE[does](undisturbed(*what, seconds=12)), f"{does}: seen without it too"


def test_no_more_than_a_third_turns_hostile_however_often_it_is_asked_for():
    turns = [Hostile(AT, target(name), (Hostility.WITHHOLD,)) for name in ("n00", "n01", "n02", "n03")]
    seen = look(*turns)
    machines = seen.world.machines
    assert sum(not each.honest for each in machines) == len(machines) // 3 < len(turns)


def test_a_thief_signs_with_the_key_that_was_stolen():
    seen = look(Hostile(AT, ONE, (Hostility.REPLAY,), "killer"), KILL, seconds=8)
    stolen = [entry for entry in seen.world.ledger.entries.values() if entry.stolen]
    assert {entry.record.kind for entry in stolen} == {Kind.KILL}
    assert {entry.record.key for entry in stolen} == {seen.world.ledger.names["k1"].key}


def test_every_kind_of_fault_is_looked_at():
    kinds = {type(each) for what, _, _ in CHECKS.values() for each in what if isinstance(each, Fault)}
    assert kinds | {Hostile} == set(Fault.__args__)
    impairments = {name for name in Impair.__slots__ if name not in ("at", "lasts", "a", "b", "oneway")}
    used = {name for what, _, _ in CHECKS.values() for each in what if isinstance(each, Impair)
            for name in impairments if getattr(each, name)}  # fmt: skip
    assert used == impairments
    assert set(HOSTILE) == set(Hostility)
    assert set(FATES) == set(DiskFate)


def test_who_is_hit_is_named_by_region_where_it_is_all_of_one():
    machines = tuple(look(seconds=0.1).world.machines)
    assert _names(machines) == "all"
    eu, us = (tuple(each for each in machines if each.region == region) for region in ("eu", "us"))
    assert _names(eu) == "eu"
    assert _names((*eu, us[0])) == f"eu, {us[0].name}"
    assert _names(us[1:]) == f"{us[1].name}, {us[2].name}"
