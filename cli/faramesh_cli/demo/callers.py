"""Synthetic agents: each asks its node's enforcement point about the same tool call, at a low rate and whenever its node says
that something changed. What they were answered is all that the checks look at."""

import json
from collections.abc import Callable
from pathlib import Path

import trio

from faramesh_cli.demo.checks import Seen
from faramesh_mesh.runtime.control.client import ControlClient, connect
from faramesh_mesh.runtime.control.errors import ControlError

TOOL = "stripe/refund"
ARGUMENTS = json.dumps({"amount": 50}).encode()
EVERY = 0.25
"""Seconds between two calls of one agent. Changes are seen at once all the same: a watch wakes the caller."""
RETRY = 0.05
WATCH = 10.0


class Callers:
    """All synthetic agents of the run. `latest` and `fingerprints` are by agent; an agent whose node is gone is in neither."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = trio.Event()
        self.histories: dict[str, list[Seen]] = {}
        self.latest: dict[str, Seen] = {}
        self.fingerprints: dict[str, str] = {}
        self.equal_since = 0.0
        """When the last change made all known fingerprints one; not moved by changes that leave them one."""

    async def call(self, agent: str, socket: Path) -> None:
        """Be one agent until cancelled. Its node may come and go."""
        self.histories.setdefault(agent, [])
        while True:
            try:
                async with (
                    connect(str(socket), None) as calls,
                    connect(str(socket), None) as watch,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._steadily, agent, calls)
                    await self._at_changes(agent, calls, watch)
            except* (ControlError, OSError):
                pass
            self.latest.pop(agent, None)
            self.fingerprints.pop(agent, None)
            await trio.sleep(RETRY)

    async def _steadily(self, agent: str, calls: ControlClient) -> None:
        while True:
            await self._ask(agent, calls)
            await trio.sleep(EVERY)

    async def _at_changes(self, agent: str, calls: ControlClient, watch: ControlClient) -> None:
        generation = 0
        while True:
            generation = await watch.watch(generation, WATCH)
            await self._ask(agent, calls)
            fingerprint = (await watch.info()).fingerprint.hex()
            were_equal = len(set(self.fingerprints.values())) == 1
            self.fingerprints[agent] = fingerprint
            if not were_equal and len(set(self.fingerprints.values())) == 1:
                self.equal_since = self._clock()
            self._notify()

    async def _ask(self, agent: str, calls: ControlClient) -> None:
        said = await calls.decide(TOOL, ARGUMENTS)
        seen = Seen(
            self._clock(),
            said.effect,
            "" if said.policy is None else said.policy.hex(),
            "" if said.record is None else said.record.hex(),
            said.reason,
        )
        self.histories[agent].append(seen)
        self.latest[agent] = seen
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait for answers until the condition holds, at most so many seconds. Whether it came about."""
        with trio.move_on_after(within):
            while not condition():
                await self._changed.wait()
        return condition()
