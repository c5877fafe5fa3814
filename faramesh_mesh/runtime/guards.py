"""Guards: calls in flight that a kill can stop, in whatever kind of code they run.

    with mesh.guard(Call("stripe/refund", {"amount": 12})):
        await refund()

| around                | a kill that arrives meanwhile                                                     |
|-----------------------|-----------------------------------------------------------------------------------|
| trio, asyncio         | cancels the block; `CallStoppedError` comes out of it                              |
| a thread, plain code  | sets `guard.stopped`; the tool polls it, or calls `guard.check()`                  |

The decision is made after the call was registered, so a kill between check and call wins.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision, Effect

if TYPE_CHECKING:
    import asyncio  # 64 ms and some MiB that a trio host never needs


class CallDeniedError(Exception):
    """The call must not run. `decision` says why."""

    def __init__(self, call: Call, decision: Decision) -> None:
        super().__init__(f"{call.tool}: {decision}")
        self.call = call
        self.decision = decision

    def __reduce__(self) -> tuple[type["CallDeniedError"], tuple[Call, Decision]]:
        """Travels between processes, as errors of task queues and process pools do."""
        return type(self), (self.call, self.decision)


class CallDeferredError(CallDeniedError):
    """The call must not run now: it waits for a person."""


class CallStoppedError(CallDeniedError):
    """The call ran and was stopped by a kill. What it did until then stands."""


class Flight(Protocol):
    """A call that was decided and may be running."""

    decision: Decision

    def end(self) -> bool:
        """It is over. True for whoever says so first."""


class Enforcement(Protocol):
    """Whatever decides calls: a gate in this process, or one behind a socket."""

    def decide(self, call: Call, agent: str | None = None) -> Decision:
        """The answer to a call."""

    def begin(self, call: Call, cancel: Callable[[Decision], None], agent: str | None = None) -> Flight:
        """Decide a call that can be stopped while it runs."""


class Guard:
    """A call in flight. Use it in a `with` statement, once."""

    def __init__(self, enforcement: Enforcement, call: Call, agent: str | None) -> None:
        self._enforcement = enforcement
        self._agent = agent
        self._why: Decision | None = None
        self._flight: Flight | None = None
        self._block: _Block = _Plain()
        self._token: Token[Guard | None] | None = None
        self.call = call

    @property
    def stopped(self) -> bool:
        """Whether a kill has come since the call began. For tools that run in a thread: poll it."""
        return self._why is not None

    def check(self) -> None:
        """Raise `CallStoppedError` if a kill has come."""
        if self._why is not None:
            raise CallStoppedError(self.call, self._why)

    def __enter__(self) -> "Guard":
        if self._flight is not None:
            raise RuntimeError("a guard is for one call: make another one")
        self._begin()
        try:
            self._resume()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        self._pause(kind, error, trace)

    def _begin(self) -> None:
        """Decide the call; from now on a kill is heard."""
        self._flight = self._enforcement.begin(self.call, self._stop, self._agent)
        decision = self._flight.decision
        if not decision.permits:
            raise (CallDeferredError if decision.effect is Effect.DEFER else CallDeniedError)(
                self.call, decision
            )

    def _end(self) -> None:
        if self._flight is not None:
            self._flight.end()

    def _resume(self) -> None:
        """Enter the block that a kill stops. It is known before `_why` is read: a kill that comes in between is
        seen by one or the other."""
        self._block = _block_here()
        if self._why is not None:
            self._block.abandon()
            raise CallStoppedError(self.call, self._why)
        self._token = _current.set(self)
        self._block.enter()

    def _stop(self, decision: Decision) -> None:
        self._why = decision
        self._block.stop()

    def _pause(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the block. A `CallStoppedError` where a kill has interrupted it."""
        token, self._token = self._token, None
        interrupted = self._block.leave(kind, error, trace)
        if token is not None:
            # Entered in another context (a dependency of a web framework), it has nothing to put back here.
            with suppress(ValueError):
                _current.reset(token)
        if interrupted and self._why is not None:
            raise CallStoppedError(self.call, self._why) from None


class SteppedGuard(Guard):
    """A call in flight that runs in steps, as a generator does: a `with` statement around each of them, between `begin`
    and `end`. A kill cancels the step under way, and the next one raises `CallStoppedError`."""

    def begin(self) -> None:
        """Decide the call. Raises `CallDeniedError`, `CallDeferredError`."""
        self._begin()

    def end(self) -> None:
        """The call is over."""
        self._end()

    def __enter__(self) -> "SteppedGuard":
        self._resume()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pause(kind, error, trace)


_current: ContextVar[Guard | None] = ContextVar("faramesh_mesh_guard", default=None)


def current_guard() -> Guard | None:
    """The guard around the code that asks: for tools that want to poll `stopped`."""
    return _current.get()


class _Block(Protocol):
    """How a block of code of some kind is stopped. `stop` may be called from any thread, also before `enter`."""

    def enter(self) -> None: ...
    def stop(self) -> None: ...
    def abandon(self) -> None:
        """The block will not be entered: a `stop` that is under way must hit nothing."""

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Whether the block was interrupted by `stop`."""


class _Plain:
    """Code in a thread: it polls."""

    def enter(self) -> None:
        """Nothing to prepare."""

    def stop(self) -> None:
        """Nothing to interrupt."""

    def abandon(self) -> None:
        """Nothing to call off."""

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """The code's own outcome stands."""
        del kind, error, trace
        return False


class _InTrio:
    """A block in a trio task."""

    def __init__(self) -> None:
        import trio  # noqa: PLC0415 - it is running, so it is imported

        self._finished = trio.RunFinishedError
        self._scope = trio.CancelScope()
        self._trio_token = trio.lowlevel.current_trio_token()

    def enter(self) -> None:
        """Open the scope that `stop` cancels."""
        self._scope.__enter__()

    def stop(self) -> None:
        """Cancel, from whatever thread."""
        try:
            self._trio_token.run_sync_soon(self._scope.cancel, idempotent=True)
        except self._finished:
            return

    def abandon(self) -> None:
        """The scope was never opened: cancelling it does nothing."""

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Close the scope."""
        self._scope.__exit__(kind, error, trace)
        return self._scope.cancelled_caught


class _InAsyncio:
    """A block in an asyncio task. After `asyncio.timeout`: it cancels the task and takes the cancellation back."""

    def __init__(self, task: "asyncio.Task[object]") -> None:
        import asyncio  # noqa: PLC0415 - it is running, so it is imported

        self._cancelled_error = asyncio.CancelledError
        self._task = task
        self._loop = task.get_loop()
        self._cancelling = task.cancelling()
        self._over = False
        self._cancelled = False

    def enter(self) -> None:
        """Nothing to prepare."""

    def stop(self) -> None:
        """Cancel, from whatever thread."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            return  # the loop is closed: nothing runs in it any more

    def abandon(self) -> None:
        """Forget a cancellation that is on its way."""
        self._over = True

    def _cancel(self) -> None:
        if not self._over and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Tell our cancellation from anybody else's."""
        del error, trace
        self._over = True
        ours = self._cancelled and self._task.uncancel() <= self._cancelling
        return ours and kind is not None and issubclass(kind, self._cancelled_error)


def _block_here() -> _Block:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return _InTrio()
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return _Plain()  # no loop runs in this thread
        if task is not None:
            return _InAsyncio(task)
    return _Plain()
