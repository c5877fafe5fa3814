"""The enforcement point of a node in another process, over its Unix socket.

A node that does not answer denies: a dead node must not leave its last PERMIT standing.
"""

import json
import threading
from collections.abc import Callable
from itertools import count

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.runtime.control.answers import Changes, Decided
from faramesh_mesh.runtime.control.errors import ControlError
from faramesh_mesh.runtime.control.local import LocalClient
from faramesh_mesh.runtime.control.requests import Decide, Watch

WATCH_MS = 10_000
"""How long the node may keep a question for changes."""
AGAIN_SECONDS = 0.5
"""Between attempts to ask a node that does not answer."""


class RemoteFlight:
    """A call in flight, decided elsewhere."""

    def __init__(
        self,
        flights: "dict[int, RemoteFlight]",
        ticket: int,
        call: Call,
        agent: str | None,
        cancel: Callable[[Decision], None],
    ) -> None:
        self._flights = flights
        self._ticket = ticket
        self.call = call
        self.agent = agent
        self.cancel = cancel
        self.decision = Decision(Effect.DENY, Why.NOT_READY)
        flights[ticket] = self

    def end(self) -> bool:
        """It is over. True for whoever says so first."""
        return self._flights.pop(self._ticket, None) is not None


class RemoteGate:
    """Decides by asking. While calls are in flight a thread watches for kills; it ends with `close`."""

    def __init__(self, target: str) -> None:
        self._client = LocalClient(target)
        self._watch_client = LocalClient(target)
        self._flights: dict[int, RemoteFlight] = {}
        self._tickets = count()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._starting = threading.Lock()

    def decide(self, call: Call, agent: str | None = None) -> Decision:
        """The answer of the node; a denial if there is none. Blocks for a round trip on this machine."""
        try:
            arguments = json.dumps(call.args, allow_nan=False, separators=(",", ":"), default=dict).encode()
            answer = self._client.ask(Decide(agent or "", call.tool, arguments))
        except ControlError as error:
            return Decision(Effect.DENY, Why.STALE_SNAPSHOT, text=str(error))
        except (TypeError, ValueError, RecursionError):
            return Decision(Effect.DENY, Why.EVALUATION_ERROR, text="the arguments are not JSON")
        if not isinstance(answer, Decided):
            return Decision(Effect.DENY, Why.STALE_SNAPSHOT, text="the node answered something else")
        return _decision(answer)

    def begin(self, call: Call, cancel: Callable[[Decision], None], agent: str | None = None) -> RemoteFlight:
        """Decide a call that can be stopped while it runs."""
        flight = RemoteFlight(self._flights, next(self._tickets), call, agent, cancel)
        flight.decision = self.decide(call, agent)
        if not flight.decision.permits:
            flight.end()
        else:
            self._start_watching()
        return flight

    def close(self) -> None:
        """Close the connections."""
        self._closed.set()
        self._client.close()

    def _start_watching(self) -> None:
        with self._starting:
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="mesh-watch", daemon=True)
                self._watcher.start()

    def _watch(self) -> None:
        """Ask the node anew about every call in flight whenever something changed. Decisions that this asks
        for are counted by the node like any other."""
        generation = 0
        try:
            while not self._closed.is_set():
                try:
                    answer = self._watch_client.ask(Watch(generation, WATCH_MS), WATCH_MS / 1_000 + 2.0)
                except ControlError:
                    self._closed.wait(AGAIN_SECONDS)
                    continue
                if isinstance(answer, Changes) and answer.generation != generation:
                    generation = answer.generation
                    self._judge_flights()
        finally:
            self._watch_client.close()

    def _judge_flights(self) -> None:
        for flight in tuple(self._flights.values()):
            decision = self.decide(flight.call, flight.agent)
            if decision.why.stops_calls and flight.end():
                flight.cancel(decision)


def _decision(decided: Decided) -> Decision:
    try:
        effect, why = Effect(decided.effect), Why(decided.reason)
    except ValueError:
        return Decision(Effect.DENY, Why.STALE_SNAPSHOT, text="the node is of a newer release")
    return Decision(
        effect,
        why,
        rule=decided.rule,
        line=decided.line,
        policy=decided.policy,
        record=decided.record,
        text=decided.text,
        signer=decided.signer,
    )
