"""Functions under the policy: what `Mesh.governed` makes of each kind, so that the guard lasts for as long as
the body runs.

| the function                                    | the guard                                                          |
|-------------------------------------------------|--------------------------------------------------------------------|
| plain                                           | around the call                                                    |
| `async def`, `partial` or object of that kind   | around the body                                                    |
| generator, async generator                      | from the first step to the end; a kill cancels an async step under |
|                                                 | way and stops the next one                                         |
| plain, but it returns a coroutine or generator  | around the call, and anew around what it returned                  |

What a function only starts elsewhere (a thread, a task, an executor's job) is not held: govern the function that runs
there. One that returns such a job raises `TypeError` and cancels it.

Under trio a step of an async generator is a cancel scope: the body may not keep a scope or a nursery of its
own open across a `yield` (it fails there).
"""

import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial, wraps
from types import CodeType
from typing import Any, ParamSpec, TypeVar, cast

from faramesh_mesh.host.call import NO_ARGS, ArgValue, Call
from faramesh_mesh.runtime.guards import CallStoppedError, Enforcement, Guard, SteppedGuard

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a function is governed by."""

    enforcement: Enforcement
    tool: str
    agent: str | None
    arguments: Callable[..., Mapping[str, ArgValue]] | None

    def guard(self, call: Call) -> Guard:
        """For a body in one piece."""
        return Guard(self.enforcement, call, self.agent)

    def steps(self, call: Call) -> SteppedGuard:
        """For a body in steps."""
        return SteppedGuard(self.enforcement, call, self.agent)


def govern(function: Callable[P, R], terms: Terms) -> Callable[P, R]:
    """The function, each call of it decided and guarded. Raises `TypeError` for what cannot be held."""
    if isinstance(function, staticmethod | classmethod):  # written above, not below: the same is meant
        return cast("Callable[P, R]", type(function)(govern(function.__func__, terms)))
    _refuse_unholdable(function)
    call_of = _call_of(function, terms)
    kind = (
        function if inspect.isroutine(function) or isinstance(function, partial) else type(function).__call__
    )
    if inspect.iscoroutinefunction(kind):
        return cast(
            "Callable[P, R]", _async(cast("Callable[P, Awaitable[object]]", function), call_of, terms)
        )
    if inspect.isasyncgenfunction(kind):
        stream = cast("Callable[P, AsyncGenerator[object, object]]", function)
        return cast("Callable[P, R]", _async_generator(stream, call_of, terms))
    if inspect.isgeneratorfunction(kind) and not _is_awaited(kind):
        steps = cast("Callable[P, Generator[object, object, object]]", function)
        return cast("Callable[P, R]", _generator(steps, call_of, terms))

    @wraps(function)
    def governed(*args: P.args, **kwargs: P.kwargs) -> R:
        call = call_of(*args, **kwargs)
        with terms.guard(call):
            result = function(*args, **kwargs)
        return cast("R", _held(result, call, terms))

    return governed


def _async(
    function: Callable[P, Awaitable[object]], call_of: Callable[P, Call], terms: Terms
) -> Callable[P, Awaitable[object]]:
    @wraps(function)
    async def governed(*args: P.args, **kwargs: P.kwargs) -> object:
        call = call_of(*args, **kwargs)
        with terms.guard(call):
            result = await function(*args, **kwargs)
        return _held(result, call, terms)

    return governed


def _async_generator(
    function: Callable[P, AsyncGenerator[object, object]], call_of: Callable[P, Call], terms: Terms
) -> Callable[P, AsyncGenerator[object, object]]:
    @wraps(function)
    async def governed(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[object, object]:
        guard = terms.steps(call_of(*args, **kwargs))
        guard.begin()
        try:
            inner = function(*args, **kwargs)
            step = partial(inner.asend, None)
            try:
                while True:
                    try:
                        with guard:
                            value = await step()
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield value
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - the body's to handle, whatever it is
                        step = partial(inner.athrow, error)
                    else:
                        step = partial(inner.asend, sent)
            finally:
                with _closing(guard):
                    await inner.aclose()
        finally:
            guard.end()

    return governed


def _generator(
    function: Callable[P, Generator[object, object, object]], call_of: Callable[P, Call], terms: Terms
) -> Callable[P, Generator[object, object, object]]:
    @wraps(function)
    def governed(*args: P.args, **kwargs: P.kwargs) -> Generator[object, object, object]:
        guard = terms.steps(call_of(*args, **kwargs))
        guard.begin()
        try:
            inner = function(*args, **kwargs)
            step = partial(inner.send, None)
            try:
                while True:
                    try:
                        with guard:
                            value = step()
                    except StopIteration as end:
                        return end.value
                    try:
                        sent = yield value
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - as above
                        step = partial(inner.throw, error)
                    else:
                        step = partial(inner.send, sent)
            finally:
                with _closing(guard):
                    inner.close()
        finally:
            guard.end()

    return governed


def _closing(guard: SteppedGuard) -> ExitStack:
    """The last step: what was stopped before may clean up all the same, as a cancelled block may."""
    stack = ExitStack()
    with suppress(CallStoppedError):
        stack.enter_context(guard)
    return stack


def _held(result: object, call: Call, terms: Terms) -> object:
    """What a call gave, held if its body is yet to run."""
    if inspect.isawaitable(result):
        _refuse_running(result, terms)
        return _awaited(result, call, terms)
    if inspect.isasyncgen(result):
        stream = cast("AsyncGenerator[object, object]", result)
        return _async_generator(lambda: stream, lambda: call, terms)()
    if inspect.isgenerator(result):
        steps = cast("Generator[object, object, object]", result)
        return _generator(lambda: steps, lambda: call, terms)()
    _refuse_running(result, terms)
    return result


async def _awaited(awaitable: Awaitable[object], call: Call, terms: Terms) -> object:
    try:
        with terms.guard(call):
            result = await awaitable
    finally:
        if inspect.iscoroutine(awaitable):
            awaitable.close()  # it never began if it was denied
    return _held(result, call, terms)


# What cannot be held


def _refuse_unholdable(function: object) -> None:
    name = getattr(function, "__qualname__", repr(function))
    if inspect.isclass(function):
        raise TypeError(f"{name} is a class: only making its objects would be governed. Govern its methods")
    if not callable(function):
        raise TypeError(f"{name} cannot be called: govern the function itself, below @property and the like")
    if getattr(function, "__code__", None) in _CONTEXT_MANAGERS:
        raise TypeError(
            f"{name} makes a context manager, which runs after the call: write @governed below @contextmanager"
        )


def _refuse_running(result: object, terms: Terms) -> None:
    """A job that runs elsewhere: between now and the time that somebody waits for it no kill would stop it."""
    asyncio, futures = sys.modules.get("asyncio"), sys.modules.get("concurrent.futures")
    job: Any = result
    if (asyncio is not None and asyncio.isfuture(job)) or (
        futures is not None and isinstance(job, futures.Future)
    ):
        job.cancel()
        raise TypeError(
            f"{terms.tool}: the governed function returned a job that runs elsewhere ({type(result).__name__}), which "
            f"no kill would stop; it was cancelled. Return the coroutine itself, or govern the function that runs there"
        )


def _is_awaited(kind: object) -> bool:
    """Whether it is a coroutine in the form of a generator (`types.coroutine`)."""
    code = getattr(kind, "__code__", None)
    return isinstance(code, CodeType) and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _one() -> Generator[None]:
    yield


async def _one_async() -> AsyncGenerator[None]:
    yield


_CONTEXT_MANAGERS = frozenset(
    getattr(made, "__code__", None) for made in (contextmanager(_one), asynccontextmanager(_one_async))
)
"""The code that every function which these two make shares."""


# What the policy sees


def _call_of(function: Callable[P, R], terms: Terms) -> Callable[P, Call]:
    """What makes the call of a function's arguments."""
    arguments = terms.arguments
    if arguments is not None:
        return lambda *args, **kwargs: Call(terms.tool, arguments(*args, **kwargs))
    try:
        signature = inspect.signature(function)
    except ValueError:
        raise TypeError(
            f"{function!r} does not say what its arguments are called: say what the policy sees with arguments="
        ) from None
    hidden = _receiver(function, signature)

    def call_of(*args: P.args, **kwargs: P.kwargs) -> Call:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return Call(
            terms.tool, {name: value for name, value in bound.arguments.items() if name != hidden} or NO_ARGS
        )

    return call_of


def _receiver(function: object, signature: inspect.Signature) -> str | None:
    """The name of a method's `self` or `cls`, which is no argument of the call; None for a function outside
    any class."""
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    first = next(iter(signature.parameters), "")
    return first if outer and not outer.endswith("<locals>") and first in ("self", "cls") else None
