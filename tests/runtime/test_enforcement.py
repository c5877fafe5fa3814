"""A host whose node somebody puts agents on: an enrolment names any node, and asks none."""

from collections.abc import Callable

import pytest
from attacks import mesh
from workshop import OPERATOR, Workshop, node_signer, role_key

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.events import Now, Reported
from faramesh_mesh.host.call import Call
from faramesh_mesh.host.engine import Engines
from faramesh_mesh.host.fpl.engine import FplEngine
from faramesh_mesh.host.journal import MAX_AGENTS as MAX_HISTORIES
from faramesh_mesh.host.journal import HostJournal
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.records.status import MAX_AGENTS
from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.enforcement import Enforcer, Value, new_gate

TOOL = Call("shop/refund")


class Clock:
    """The wall clock stands still; the gate's goes on."""

    def wall_ms(self) -> int:
        return 1_800_000_000_000

    def mono_ns(self) -> int:
        return clock.mono_ns()

    def now(self) -> Now:
        return Now(self.mono_ns(), self.wall_ms())


class Disk:
    """Holds what is to be kept until a test lets it become durable."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def keep(self, *, journal: tuple[tuple[str, bytes], ...], then: Callable[[], None]) -> None:
        assert journal
        self.waiting.append(then)

    def write(self) -> int:
        """Until nothing is to be kept any more. How many writes that took."""
        done = 0
        while self.waiting:
            self.waiting.pop(0)()
            done += 1
            assert done < 100, "it never ends"
        return done


class Log:
    """Says nothing."""

    def info(self, event: str, **fields: Value) -> None:
        assert event or fields


class Victim:
    """A host that was set up for one agent, in a fleet with an enrol key for toys alone."""

    def __init__(self) -> None:
        self.shop: Workshop = mesh(
            role_key("ops", OPERATOR), role_key("narrow", frozenset({Role.ENROL}), "team=toys")
        )
        self.shop.enrol("victim", team="pay")
        self.shop.push(self.shop.policy("agent * { default permit }"), ("victim",))
        self.fleet = Fleet(self.shop.records, self.shop.bodies)
        self.gate = new_gate()
        self.disk = Disk()
        self.reports: list[Reported] = []
        self.enforcer = Enforcer(
            node_signer("victim").id,
            "victim",
            self.gate,
            self.fleet,
            self.shop.bodies,
            Engines((FplEngine(),)),
            HostJournal(),
            self.disk,
            Log(),
            Clock(),
        )
        self.enforcer.is_ready = lambda: True
        self.enforcer.report = self.reports.append
        self.settle()

    def settle(self) -> None:
        self.enforcer.refresh()
        self.disk.write()
        self.enforcer.tell()

    def hear(self, record: Record) -> None:
        self.fleet.apply(record)
        self.settle()

    def enrol(self, agent: str) -> None:
        """The holder of the narrow key puts an agent of his on this host."""
        self.hear(self.shop.enrol(agent, by="narrow", node=node_signer("victim"), team="toys"))

    @property
    def permits(self) -> list[bool]:
        return [self.gate.decide(TOOL, name).permits for name in (None, "victim")]


def test_calls_without_a_name_are_of_the_agent_that_the_host_was_set_up_for():
    """`Snapshot.own`: one such agent had them all denied, and for good, also once the key was revoked."""
    host = Victim()
    assert host.permits == [True, True]
    host.enrol("toy")
    assert host.permits == [True, True]
    host.hear(host.shop.revoke_key("narrow", Cut(0, NO_RECORD)))
    assert host.permits == [True, True]


@pytest.mark.parametrize("others", [MAX_AGENTS, MAX_HISTORIES])
def test_the_own_agent_is_served_and_reported_however_many_are_put_beside_it(others):
    """`Enforcer._agents`: sixteen others pushed it out of the status, so that no kill of it was ever acknowledged; 64 out of the
    journal, so that it never adopted anything and wrote to its disk without end."""
    host = Victim()
    names = tuple(f"a{at:02}" for at in range(others))
    for name in names:
        host.enrol(name)
    host.hear(
        host.shop.push(host.shop.policy("agent * { default permit } # 2", version=2), ("victim", *names))
    )
    for record in host.shop.records.in_order():
        host.fleet.apply(record)
    host.settle()
    assert host.permits == [True, True]
    assert "victim" in [agent.agent for agent in host.reports[-1].agents]
    assert len(host.reports[-1].agents) <= MAX_AGENTS
