"""The node that an operator's client asks may be hostile: it may stall, lie or refuse, and holds up nobody for long."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import workshop
from observed import Observed

from faramesh_cli import delivery, peers, session
from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_kill import KillRequest, kill_agents
from faramesh_cli.keyring import HeldKey
from faramesh_cli.knowledge import Heard
from faramesh_cli.output import Answer, Terminal
from faramesh_cli.peers import Identity
from faramesh_cli.refusal import Refusal
from faramesh_cli.session import Session, open_session
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.role import Role
from faramesh_mesh.runtime.control.answers import Code, OfferOutcome, RecordPage, StatusEntry
from faramesh_mesh.runtime.control.client import ControlClient
from faramesh_mesh.runtime.control.errors import Refused, Unreachable
from faramesh_mesh.runtime.operator_cache import Held
from faramesh_mesh.runtime.operator_home import OperatorHome, create_home
from faramesh_mesh.runtime.operator_keys import new_seed, seal_key
from faramesh_mesh.state.record_set import RecordSet

SLOW = 29.0
"""Seconds for an answer: under the deadline of one."""


class Node(ControlClient):
    """A node that holds what the workshop signed, with a temper."""

    def __init__(self, target: str, shop: workshop.Workshop, temper: str = "honest") -> None:
        super().__init__(None, target)  # type: ignore[arg-type]  # never touched: each question is answered below
        self.node = workshop.node_signer(target).id
        self.asked: list[str] = []
        self.connections = 0
        self.statuses_held: tuple[StatusEntry, ...] = ()
        self.offered: list[bytes] = []
        self.temper = temper
        self._chain = shop.chain
        self._shop = shop

    async def _answers(self, what: str) -> None:
        self.asked.append(what)
        await trio.lowlevel.checkpoint()
        match self.temper:
            case "slow":
                await trio.sleep(SLOW)
            case "slow to show" if what == "pull":
                await trio.sleep(SLOW)
            case "refuses":
                raise Refused(Code.NOT_AUTHORISED, "go away")
            case "gone after the pull" if what == "statuses" and self.offered:
                raise Unreachable(f"{self.target}: gone")

    async def pull(
        self, root_version: int, frontier: tuple[tuple[int, int], ...] = (), start: int = 0
    ) -> RecordPage:
        del root_version, start
        await self._answers("pull")
        found = self._shop.records.after(dict(frontier))
        return RecordPage(
            (), tuple(each.envelope for each in found), None, len(found), self._shop.records.trie.fingerprint
        )

    async def statuses(self, most: int) -> tuple[StatusEntry, ...]:
        del most
        await self._answers("statuses")
        return self.statuses_held

    async def body(self, digest: Digest) -> bytes | None:
        await self._answers("body")
        return self._shop.bodies.get(digest)

    async def behind(self, records: RecordSet) -> tuple[()]:
        del records
        return ()

    async def offer(
        self, records: tuple[bytes, ...] = (), roots: tuple[bytes, ...] = (), bodies: tuple[bytes, ...] = ()
    ) -> tuple[OfferOutcome, ...]:
        await self._answers("offer")
        self.offered += records
        return tuple(OfferOutcome(RecordId(bytes(32)), None, False) for _ in (*records, *roots, *bodies))


class World:
    """An operator's home, and nodes."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop = workshop.Workshop()
        for agent in ("a", "b", "c"):
            self.shop.enrol(agent)
        root = workshop.seal(workshop.root(workshop.starter_keys()), self.shop.chain.mesh, ("ops",))
        self.home: OperatorHome = create_home(
            path, "test", "starter", root, [seal_key("x", new_seed(), None)]
        )
        self.nodes: dict[str, Node] = {}
        identity = Identity(self.home.mesh, self.home, HeldKey("ops", workshop.signer("ops"), b""), None)
        monkeypatch.setattr(session, "identify", lambda *_: identity)
        for module in (peers, delivery):
            monkeypatch.setattr(module, "connect", self.connect)

    def node(self, name: str, temper: str = "honest") -> Node:
        self.nodes[name] = Node(f"{name}:7420", self.shop, temper)
        return self.nodes[name]

    def shell(self) -> Shell:
        return Shell(Terminal(), peers=tuple(node.target for node in self.nodes.values()))

    def cache(self) -> None:
        """The operator has synced before."""
        with self.home.cache() as cache:
            cache.keep([Held(each.id, each.envelope) for each in self.shop.records.in_order()], {}, {})

    @asynccontextmanager
    async def connect(self, target: str, *_: object) -> AsyncIterator[Node]:
        node = next((each for each in self.nodes.values() if each.target == target), None)
        if node is None:
            raise ValueError(f"{target}: not an address")
        match node.temper:
            case "silent":
                await trio.sleep(SLOW)
            case "turns away":
                raise Refused(Code.NOT_AUTHORISED, "go away")
        node.connections += 1
        yield node

    async def seen(self, look: Callable[[Session], object] = lambda opened: opened.client.target) -> object:
        """What a session is like that only looks."""
        async with open_session(self.shell(), Role.ROLLOUT) as opened:
            return look(opened)

    def kill(self, target: str = "a") -> Answer:
        return kill_agents(
            self.shell(),
            KillRequest(f"instance={target}", target, "loop", (), "all", "300ms", False, None, False, None),
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path / "acme", monkeypatch)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands, which start their own clock."""
    monkeypatch.setattr(session, "HURRIED_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "SECONDS", 0.3)


async def test_a_node_that_answers_slowly_is_left_after_the_deadline_of_the_sync(
    world: World, autojump_clock: object
):
    """Fails with a deadline for each answer only: bodies are asked for one after the other, 29 s each."""
    for number in range(10):
        world.shop.policy(f"agent * {{ default deny }} # {number}", version=number + 1)
    slow, honest = world.node("slow", "slow"), world.node("honest")
    assert await world.seen() == honest.target
    assert trio.current_time() < 2 * session.SYNC_SECONDS
    assert len(slow.asked) <= 3
    with world.home.cache() as cache:
        assert len(cache.records()) == len(world.shop.records)


async def test_what_a_slow_node_showed_is_kept(world: World, autojump_clock: object):
    """Fails when the cache is written at the end of the sync: a slow link would never come to it."""
    world.shop.policy(version=1)
    world.shop.policy("agent * { default deny } # 2", version=2)
    world.node("slow", "slow")
    with pytest.raises(Refusal, match="had not shown all that it holds"):
        await world.seen()
    with world.home.cache() as cache:
        assert len(cache.records()) == len(world.shop.records)


@pytest.mark.parametrize("temper", ["refuses", "turns away"])
async def test_one_node_that_refuses_keeps_nobody_out(world: World, temper: str):
    """Fails when a refusal ends the command: it is one node's word."""
    world.node("hostile", temper)
    honest = world.node("honest")
    assert await world.seen() == honest.target
    honest.temper = temper
    with pytest.raises(Refusal, match=r"st[a-z]*:7420 refused: go away") as refused:
        await world.seen()
    assert refused.value.exit_code is ExitCode.NOT_AUTHORISED


async def test_nodes_that_keep_silent_hold_up_a_connection_for_a_second_each(
    world: World, autojump_clock: object
):
    for number in range(5):
        world.node(f"silent{number}", "silent")
    honest = world.node("honest")
    started = trio.current_time()
    assert await world.seen() == honest.target
    assert trio.current_time() - started <= 5 * peers.HEAD_START + 0.1


async def test_an_address_that_is_none_is_passed_over_unless_the_operator_typed_it(world: World):
    """Fails when any bad address ends the command: a member may say that it is at one."""
    honest = world.node("honest")
    with world.home.cache() as cache:
        cache.keep([], {}, {"::bad::": 1})
    async with open_session(world.shell(), Role.ROLLOUT) as opened:
        assert opened.client is honest


@pytest.mark.usefixtures("hasty")
def test_a_kill_is_signed_from_the_cache_when_the_node_is_slow_and_the_answer_says_so(world: World):
    """Fails when a kill waits for the sync: 29 s for each answer."""
    world.cache()
    world.shop.enrol("late")
    world.node("slow", "slow")
    takes = [world.node(name) for name in ("x", "y", "z")]
    answer = world.kill()
    assert sum(len(node.offered) for node in takes) == 3
    assert answer.data["outdated"] == "no node had shown all that it holds after 0.1 s"
    assert any("what was known on this machine" in line for line in answer.lines)
    assert answer.data["acknowledged"] == []
    assert answer.exit_code is ExitCode.UNCONFIRMED


@pytest.mark.usefixtures("hasty")
def test_a_kill_reaches_a_lone_node_that_has_much_to_show(world: World):
    """Fails when the connection whose answer was cut off is the one that the kill is offered on."""
    world.cache()
    lone = world.node("lone", "slow to show")
    answer = world.kill()
    assert lone.connections == 2
    assert answer.data["delivery"] == "durable on 1 of 3"


@pytest.mark.usefixtures("hasty")
def test_a_kill_asks_for_no_bodies_and_says_nothing_of_the_cache_when_it_synced(world: World):
    world.cache()
    world.shop.policy()
    honest = world.node("honest")
    answer = world.kill()
    assert "body" not in honest.asked
    assert answer.data["outdated"] == ""
    assert not any("known on this machine" in line for line in answer.lines)


@pytest.mark.usefixtures("hasty")
def test_a_kill_of_an_agent_that_the_cache_does_not_know_asks_the_next_node(world: World):
    world.cache()
    world.shop.enrol("late")
    world.node("slow", "slow")
    for name in ("x", "y", "z"):
        world.node(name)
    assert world.kill("late").data["agents"] == ["late"]


@pytest.mark.usefixtures("hasty")
def test_a_kill_that_was_signed_is_answered_for_although_no_node_answers_any_more(world: World):
    """Fails when an error while waiting ends the command: nobody would hear that the kill is on a disk."""
    world.cache()
    world.node("m", "gone after the pull")
    answer = world.kill()
    assert answer.data["delivery"] == "durable on 1 of 3"
    assert answer.exit_code is ExitCode.UNCONFIRMED


async def test_what_one_command_saw_the_next_does_not_take_an_older_word_for(world: World):
    """Fails without the statuses in the operator's home."""
    seen = Observed(world.shop)
    newer, older = seen.report("a", seq=7), seen.report("a", seq=6)
    node = world.node("m")
    for shown in (newer, older):
        node.statuses_held = (shown,)
        heard = await world.seen(lambda opened: opened.known.heard_of("a"))
        assert isinstance(heard, Heard)
        assert heard.status.seq == 7


async def test_a_kill_without_a_cache_waits_for_the_sync(world: World, autojump_clock: object):
    """Who knows nothing yet cannot say whom a kill concerns."""
    world.node("slow", "slow")
    async with open_session(world.shell(), Role.KILL, hurries=True) as opened:
        assert (opened.hurries, opened.outdated) == (False, "")
        assert opened.known.fleet.agents() == ("a", "b", "c")
