"""The enforcement point of a node in another process, over its Unix socket.

A node that does not answer denies: a dead node must not leave its last PERMIT standing.
"""

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.runtime.control.answers import Changes, Decided
from faramesh_mesh.runtime.control.errors import ControlError
from faramesh_mesh.runtime.control.local import LocalClient
from faramesh_mesh.runtime.control.requests import Decide, Watch
from faramesh_mesh.runtime.forks import renew_in_child

WATCH_MS = 10_000
"""How long the node may keep a question for changes."""
AGAIN_SECONDS = 0.5
"""Between attempts to ask a node that does not answer."""
_CLOSED = Decision(Effect.DENY, Why.POISONED, text="the connection to the node was closed")
_UNJUDGED = frozenset({Why.STALE_SNAPSHOT, Why.NOT_READY})
"""Answers of a node that has stopped or does not know yet: a kill may be behind them."""


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

    def __init__(self, target: str, owner: int | None = None) -> None:
        self._new_client = partial(LocalClient, target, owner)
        self._client = self._new_client()
        self._flights: dict[int, RemoteFlight] = {}
        self._tickets = count()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._starting = threading.Lock()
        renew_in_child(self._renew)

    def decide(self, call: Call, agent: str | None = None) -> Decision:
        """The answer of the node; a denial if there is none, and once this is closed. Blocks for a round trip on
        this machine."""
        decision = _CLOSED if self._closed.is_set() else self._asked(call, agent)
        if self._closed.is_set():  # meanwhile: nobody would watch over the call
            self._client.close()
            return _CLOSED
        return decision

    def _asked(self, call: Call, agent: str | None) -> Decision:
        try:
            arguments = json.dumps(
                call.args, allow_nan=False, separators=(",", ":"), default=_mapping
            ).encode()
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
        """Close the connections. Every later decision is a denial; calls in flight run on, and no kill reaches them."""
        self._closed.set()
        self._client.close()

    def _renew(self) -> None:
        """A forked child is without the thread that may have been starting the watcher. Calls in flight go on
        in it, and are watched again with its next call."""
        self._starting = threading.Lock()

    def _start_watching(self) -> None:
        with self._starting:
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="mesh-watch", daemon=True)
                self._watcher.start()

    def _watch(self) -> None:
        """Ask the node anew about every call in flight whenever something changed, and after every new connection: a
        node that was restarted counts its changes from one again. Decisions that this asks for are counted by the
        node like any other."""
        client = self._new_client()  # its own: after a fork nobody would let go of its lock
        known = 0
        try:
            while not self._closed.is_set():
                try:
                    answer = client.ask(Watch(known, WATCH_MS), WATCH_MS / 1_000 + 2.0, again=False)
                except ControlError:
                    known = 0
                    self._closed.wait(AGAIN_SECONDS)
                    continue
                if isinstance(answer, Changes) and answer.generation != known:
                    known = answer.generation
                    if not self._judge_flights():
                        known = 0
                        self._closed.wait(AGAIN_SECONDS)
        finally:
            client.close()

    def _judge_flights(self) -> bool:
        """Stop the calls in flight that are killed. Whether the node knew of each."""
        judged = True
        for flight in tuple(self._flights.values()):
            decision = self.decide(flight.call, flight.agent)
            if decision.why.stops_calls and flight.end():
                flight.cancel(decision)
            judged = judged and decision.why not in _UNJUDGED
        return judged


def _mapping(value: object) -> dict[object, object]:
    """A mapping of another kind as JSON knows it, and nothing else: `dict` would make {"a": "b"} of the set
    {"ab"}, and use an iterator up that the call is to read."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


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
