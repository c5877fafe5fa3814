"""Faults at work: each begins at its time, heals after its time, and whatever has not healed heals at the end of the chaos."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faramesh_sim.conditions import Between, Cut, Impairment
from faramesh_sim.faults import (
    BadDisk,
    Churn,
    Clock,
    Crash,
    DiskFate,
    Fault,
    Hang,
    Hostile,
    Impair,
    Lapse,
    Partition,
    Slow,
)
from faramesh_sim.hostile.turn import turn_hostile
from faramesh_sim.storage import FSYNC
from faramesh_sim.targets import Who
from faramesh_sim.timeline import What

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.world import World

Heal = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A fault in force: what it is in words, what heals it, and the machines that it hits. `stays`: it never heals."""

    text: str
    heal: Heal
    hits: "tuple[Machine, ...]"
    stays: bool = False


LOST_BATCHES = 3
"""Transactions that a disk which lies about syncs loses."""


def _lies_in_wait(fault: Fault) -> int:
    """Until when a fault waits for somebody whom it means. One that is aimed at a state of two milliseconds waits as long as it is to last:
    it would hardly ever meet it."""
    aims: tuple[Who, ...]
    match fault:
        case Hostile():
            return fault.at
        case Partition() | Impair():
            aims = (fault.a.who, fault.b.who)
        case _:
            aims = (fault.nodes.who,)
    return fault.at + (fault.lasts if Who.SYNCING in aims else 0)


class Injector:
    """Injects the faults of a scenario. Targets are resolved when a fault begins."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng.stream("faults")
        self._open: dict[int, _Begun] = {}
        self._begun = 0
        self._over = False

    def schedule(self, start: int) -> None:
        """Begin each fault at its time after `start`."""
        for fault in self._world.scenario.faults:
            self._world.engine.at(start + fault.at, self._begin, fault, start + _lies_in_wait(fault))

    def heal_all(self) -> None:
        """The chaos is over."""
        self._over = True
        for number in list(self._open):
            self._heal(number)
        for machine in self._world.machines:
            if machine.process is None:
                machine.start()
        self._world.healed_at = self._world.engine.now
        self._world.chaos_over = True

    def _begin(self, fault: Fault, until: int) -> None:
        """Begin a fault, at the latest at a time if it means nobody before."""
        if self._over:
            return
        world = self._world
        begun = self._inject(fault)
        if begun is None:
            if world.engine.now < until:
                world.engine.after(FSYNC // 2, self._begin, fault, until)
            return
        places = tuple(machine.place for machine in begun.hits)
        world.timeline.note(world.engine.now, What.FAULT, None, begun.text, hits=places)
        if begun.stays:
            return
        number = self._begun = self._begun + 1
        self._open[number] = begun
        world.faults_open += 1
        world.engine.after(fault.lasts, self._heal, number)

    def _heal(self, number: int) -> None:
        begun = self._open.pop(number, None)
        if begun is None:
            return
        begun.heal()
        world = self._world
        world.faults_open -= 1
        world.healed_at = world.engine.now
        world.timeline.note(world.engine.now, What.HEALED, None, begun.text)

    def _inject(self, fault: Fault) -> _Begun | None:
        """Begin a fault. None where it means nobody now."""
        world = self._world
        match fault:
            case Partition():
                return self._partition(fault)
            case Impair():
                return self._impair(fault)
            case Churn():
                return self._churn(fault)
            case Hostile(nodes=nodes, does=does, with_key=key):
                machines = self._honest(nodes.resolve(world, self._rng))
                if not machines:
                    return None
                for machine in machines:
                    turn_hostile(machine, does, key)
                    text = f"{machine.name} turns hostile: {', '.join(does)}"
                    world.timeline.note(world.engine.now, What.TURNED, machine.place, text)
                text = f"{_names(machines)} hostile: {', '.join(does)}"
                return _Begun(text, _nothing, machines, stays=True)
            case _:
                machines = fault.nodes.resolve(world, self._rng)
                return self._hit(fault, machines) if machines else None

    def _honest(self, machines: "tuple[Machine, ...]") -> "tuple[Machine, ...]":
        """Those that may turn hostile: two honest machines in three stay, whatever a scenario says."""
        room = len(self._world.machines) // 3 - sum(not each.honest for each in self._world.machines)
        return tuple(each for each in machines if each.honest)[: max(room, 0)]

    def _hit(  # noqa: C901 - one case a fault
        self, fault: "Crash | Hang | Slow | Clock | BadDisk | Lapse", machines: "tuple[Machine, ...]"
    ) -> _Begun:
        names = _names(machines)
        match fault:
            case Crash(disk=disk, graceful=graceful):
                snapshots = {each.place: max(each.disk.commits // 2, 1) for each in machines}
                for number, machine in enumerate(machines):
                    # What no disk holds any more nobody could bring back: half of the fleet keeps what it has.
                    fate = disk if 2 * number < len(self._world.machines) else DiskFate.KEPT
                    self._crash(machine, fate, snapshots[machine.place], graceful=graceful)
                word = "stopped" if graceful else f"crashed, disk {disk.value}"
                return _Begun(f"{names} {word}", lambda: _each(machines, lambda each: each.start()), machines)
            case Hang(host=host):
                for machine in machines:
                    machine.hang(host=host)
                word = "suspended" if host else "hung"
                return _Begun(
                    f"{names} {word}", lambda: _each(machines, lambda each: each.resume()), machines
                )
            case Slow(cost=cost):
                for machine in machines:
                    machine.at_cost(cost)
                return _Begun(
                    f"{names} slow", lambda: _each(machines, lambda each: each.at_cost(0)), machines
                )
            case Clock(jump_ms=jump, drift_ppm=drift):
                for machine in machines:
                    machine.clock.jump(jump)
                    machine.clock.run_at(drift)
                return _Begun(
                    f"{names} clock {jump:+} ms, {drift:+} ppm",
                    lambda: _each(machines, lambda each: _set_right(each, jump)),
                    machines,
                )
            case BadDisk(full=full, fsync=fsync):
                before = {each.place: each.fsync for each in machines}
                for machine in machines:
                    machine.disk.full = full
                    machine.slow_disk(fsync or before[machine.place])
                return _Begun(
                    f"{names} disk {'full' if full else 'slow'}",
                    lambda: _each(machines, lambda each: _mend_disk(each, before[each.place])),
                    machines,
                )
            case Lapse():
                for machine in machines:
                    machine.lapsed = True
                return _Begun(f"{names} certificates lapsed", lambda: _each(machines, _renew), machines)

    def _crash(self, machine: "Machine", fate: DiskFate, snapshot: int, *, graceful: bool) -> None:
        if graceful:
            machine.stop()
        else:
            machine.crash(applied=fate is DiskFate.APPLIED)
        disk = machine.disk
        if fate is DiskFate.WIPED and not self._is_held_elsewhere(machine):
            fate = DiskFate.KEPT
        match fate:
            case DiskFate.LOST:
                disk.lose(LOST_BATCHES)
            case DiskFate.OLDER:
                self._world.marks.sometimes("a machine came back with an older disk")
                disk.restore(snapshot)
            case DiskFate.WIPED:
                disk.wipe()
            case DiskFate.DAMAGED:
                held = list(disk.record_ids())
                if held:
                    disk.damage(self._rng.choice(held))
            case DiskFate.KEPT | DiskFate.APPLIED:
                pass
        if fate in (DiskFate.LOST, DiskFate.OLDER, DiskFate.WIPED, DiskFate.DAMAGED):
            machine.forgot_at = self._world.engine.now

    def _is_held_elsewhere(self, machine: "Machine") -> bool:
        """Whether another disk holds the mesh. Where every disk is wiped at once nothing can come back, and nothing is learned."""
        return any(
            other.disk.commits for other in self._world.machines if other.honest and other is not machine
        )

    def _churn(self, fault: Churn) -> _Begun | None:
        machines = fault.nodes.resolve(self._world, self._rng)
        if not machines:
            return None
        going = [True]
        engine = self._world.engine

        def kill_one() -> None:
            if not going[0]:
                return
            machine = self._rng.choice(machines)
            if machine.process is not None:
                machine.crash(applied=bool(self._rng.below(2)))
                engine.after(fault.down, machine.start)
            engine.after(fault.every, kill_one)

        def stop() -> None:
            going[0] = False
            _each(machines, lambda each: each.start())

        kill_one()
        return _Begun(f"churn of {_names(machines)}", stop, machines)

    def _partition(self, fault: Partition) -> _Begun | None:  # noqa: C901 - what falls, rises, flaps
        sides = self._sides(fault)
        if sides is None:
            return None
        a, b = sides
        cut = Cut(_between(a, b, oneway=fault.oneway), fault.reset)
        conditions, network, engine = self._world.conditions, self._world.network, self._world.engine
        number: list[int | None] = [None]
        arrow = "→" if fault.oneway else "↔"
        text = f"cut {_names(a)} {arrow} {_names(b)}"

        def down() -> None:
            number[0] = conditions.add(cut)
            network.cut_now()
            self._world.cut_at = self._world.engine.now
            self._world.marks.sometimes("the network was cut")
            canaries = set(self._world.directed(Who.CANARIES))
            if canaries & {*a, *b}:
                self._world.marks.sometimes("a canary was cut off")

        def up() -> None:
            if number[0] is not None:
                conditions.remove(number[0])
                number[0] = None
                self._world.cut_at = self._world.engine.now
                network.heal()

        going = [True]

        def flap() -> None:
            if going[0]:
                if number[0] is None:
                    down()
                else:
                    up()
                engine.after(fault.flap, flap)

        def heal() -> None:
            going[0] = False
            up()

        down()
        if fault.flap:
            engine.after(fault.flap, flap)
            text += " (flapping)"
        return _Begun(text, heal, a)

    def _impair(self, fault: Impair) -> _Begun | None:
        sides = self._sides(fault)
        if sides is None:
            return None
        a, b = sides
        rule = Impairment(
            _between(a, b, oneway=fault.oneway),
            fault.extra,
            fault.loss,
            fault.bandwidth,
            fault.broken,
            fault.dropped,
            fault.doubled,
            fault.swapped,
        )
        number = self._world.conditions.add(rule)
        text = f"impaired {_names(a)} {'→' if fault.oneway else '↔'} {_names(b)}"
        return _Begun(text, lambda: self._world.conditions.remove(number), a)

    def _sides(self, fault: Partition | Impair) -> "tuple[tuple[Machine, ...], tuple[Machine, ...]] | None":
        a = fault.a.resolve(self._world, self._rng)
        b = fault.b.resolve(self._world, self._rng, a)
        return (a, b) if a and b else None


def _between(a: "tuple[Machine, ...]", b: "tuple[Machine, ...]", *, oneway: bool) -> Between:
    left, right = {each.place for each in a}, {each.place for each in b}
    if oneway:
        return lambda sender, receiver: sender in left and receiver in right
    return lambda sender, receiver: (
        (sender in left and receiver in right) or (sender in right and receiver in left)
    )


def _names(machines: "tuple[Machine, ...]") -> str:
    """Who they are, in a few words: by region where it is all of one."""
    every = machines[0].world.machines
    if len(machines) == len(every):
        return "all"
    here, everywhere = (Counter(machine.region for machine in each) for each in (machines, every))
    whole = [region for region, count in here.items() if count == everywhere[region]]
    names = [*whole, *(machine.name for machine in machines if machine.region not in whole)]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _each(machines: "tuple[Machine, ...]", act: "Callable[[Machine], object]") -> None:
    for machine in machines:
        act(machine)


def _set_right(machine: "Machine", jump: int) -> None:
    machine.clock.jump(-jump)
    machine.clock.run_at(0)


def _mend_disk(machine: "Machine", fsync: int) -> None:
    machine.disk.full = False
    machine.slow_disk(fsync)


def _renew(machine: "Machine") -> None:
    machine.lapsed = False


def _nothing() -> None:
    """A hostile machine stays hostile."""
