"""`governed`: whatever kind of function it is, its body runs under the guard, and a kill stops it."""

import asyncio
import gc
import inspect
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial, wraps

import pytest
import trio

from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.gate import AgentState, Gate, Snapshot
from faramesh_mesh.runtime.guards import CallDeniedError, CallStoppedError, current_guard
from faramesh_mesh.runtime.mesh import Mesh

RUNNERS = pytest.mark.parametrize(
    "run", [asyncio.run, lambda task: trio.run(lambda: task)], ids=["asyncio", "trio"]
)
LATER = 10**15


class Desk:
    """A mesh without a node: the gate is told what to answer. `calls` are those that were decided."""

    def __init__(self):
        self.gate = Gate(time.monotonic_ns, threading.get_ident)
        self.mesh = Mesh(self.gate, self)
        self.calls = []
        self.ran = []
        self.permit()

    def close(self): ...

    def permit(self):
        def decide(call):
            self.calls.append(call)
            return Decision(Effect.PERMIT, Why.RULE)

        self.gate.install(Snapshot({"a": AgentState("a", None, decide)}, LATER * 10**6))

    def kill(self):
        dead = AgentState("a", Decision(Effect.DENY, Why.KILLED))
        return self.gate.install(Snapshot({"a": dead}, LATER * 10**6))

    async def body(self, x):
        """A tool; `kill` makes it the cause of one."""
        self.ran.append(x)
        if x == "kill":
            assert self.kill() == 1
        await pause(60 if x == "kill" else 0)
        self.ran.append("after")

    @property
    def governed(self):
        return self.mesh.governed("shell/run")


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    gc.collect()
    assert desk.gate.in_flight == 0


def plain(function):
    """An ordinary decorator: a plain function around one of any kind."""

    @wraps(function)
    def around(*args, **kwargs):
        return function(*args, **kwargs)

    return around


class Tool:
    def __init__(self, desk):
        self.body = desk.body

    async def __call__(self, x):
        await self.body(x)


async def pause(seconds=0.0):
    """A step of the loop that runs, whichever it is."""
    if "trio" in type(_loop()).__module__:
        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


def _loop():
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return asyncio.get_running_loop()


def coroutine_functions(desk):
    body = desk.body

    @types.coroutine
    def old(x):
        yield from body(x).__await__()

    return {
        "async def": body,
        "decorated": plain(body),
        "partial": partial(body),
        "partial of a decorated one": partial(plain(body)),
        "object": Tool(desk),
        "decorated object": partial(Tool(desk)),
        "types.coroutine": old,
    }


KINDS = tuple(coroutine_functions(Desk()))


@RUNNERS
@pytest.mark.parametrize("kind", KINDS)
def test_no_coroutine_begins_after_a_kill(desk, kind, run):
    """Fails where a plain function that returns a coroutine is guarded for as long as it takes to make one."""
    function = desk.governed(coroutine_functions(desk)[kind])

    async def main():
        waiting = function("x")
        desk.kill()
        with pytest.raises(CallDeniedError):
            await waiting

    run(main())
    assert desk.ran == []


@RUNNERS
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_cancels_a_coroutine_of_any_kind(desk, kind, run):
    function = desk.governed(coroutine_functions(desk)[kind])

    async def main():
        with pytest.raises(CallStoppedError):
            await function("kill")
        desk.permit()
        await function("y")

    run(main())
    assert desk.ran == ["kill", "y", "after"]


async def test_a_call_that_is_denied_makes_no_coroutine(desk):
    desk.kill()
    made = []

    @desk.governed
    def wrapped():
        made.append(1)

    with pytest.raises(CallDeniedError):
        wrapped()
    assert made == []


def generator_functions(desk):
    def body(x):
        try:
            for step in range(3):
                desk.ran.append(step)
                yield step
        finally:
            desk.ran.append("closed")
        return "result"

    class Object:
        def __call__(self, x):
            return body(x)

    return {"def": body, "decorated": plain(body), "partial": partial(body), "object": Object()}


@pytest.mark.parametrize("kind", ["def", "decorated", "partial", "object"])
class TestGenerators:
    def test_the_guard_opens_at_the_first_step_and_a_kill_stops_the_next(self, desk, kind):
        """Fails where a generator's guard is over before its body begins."""
        steps = desk.governed(generator_functions(desk)[kind])("x")
        assert desk.gate.in_flight == 0
        assert next(steps) == 0
        assert desk.gate.in_flight == 1
        assert desk.kill() == 1
        with pytest.raises(CallStoppedError):
            next(steps)
        assert desk.ran == [0, "closed"]
        with pytest.raises(StopIteration):
            next(steps)

    def test_it_does_not_begin_after_a_kill(self, desk, kind):
        steps = desk.governed(generator_functions(desk)[kind])("x")
        desk.kill()
        with pytest.raises(CallDeniedError):
            next(steps)
        assert desk.ran == []

    def test_what_it_yields_and_returns_comes_through_and_its_end_is_the_guards(self, desk, kind):
        def whole():
            return (yield from desk.governed(generator_functions(desk)[kind])("x"))

        steps = whole()
        assert [next(steps) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(StopIteration, match="result"):
            next(steps)
        assert desk.gate.in_flight == 0

    def test_closing_it_ends_the_guard_killed_or_not(self, desk, kind):
        for kill in (False, True):
            desk.ran.clear()
            steps = desk.governed(generator_functions(desk)[kind])("x")
            next(steps)
            if kill:
                desk.kill()
            steps.close()
            assert desk.ran == [0, "closed"]
            assert desk.gate.in_flight == 0

    def test_leaving_it_ends_the_guard(self, desk, kind):
        steps = desk.governed(generator_functions(desk)[kind])("x")
        next(steps)
        del steps
        gc.collect()
        assert desk.ran == [0, "closed"]
        assert desk.gate.in_flight == 0


def test_what_is_sent_or_thrown_into_a_generator_reaches_its_body(desk):
    @desk.governed
    def body():
        while True:
            try:
                desk.ran.append((yield))
            except LookupError:
                desk.ran.append("thrown")
            assert current_guard() is not None

    steps = body()
    next(steps)
    steps.send("sent")
    steps.throw(LookupError())
    assert current_guard() is None
    desk.kill()
    with pytest.raises(CallStoppedError):
        steps.throw(LookupError())
    assert desk.ran == ["sent", "thrown"]


def stream_functions(desk):
    async def body(x):
        try:
            for step in range(3):
                desk.ran.append(step)
                yield step
                await pause()
        finally:
            await pause()
            desk.ran.append("closed")

    async def made(x):
        return body(x)

    return {"async def": body, "decorated": plain(body), "partial": partial(body), "returned": made}


@RUNNERS
@pytest.mark.parametrize("kind", ["async def", "decorated", "partial", "returned"])
class TestAsyncGenerators:
    def test_the_guard_opens_at_the_first_step_and_a_kill_stops_the_next(self, desk, kind, run):
        """Fails where an async generator's guard is over before its body begins."""

        async def main():
            stream = desk.governed(stream_functions(desk)[kind])("x")
            stream = await stream if inspect.isawaitable(stream) else stream
            assert desk.gate.in_flight == 0
            assert await anext(stream) == 0
            assert desk.gate.in_flight == 1
            assert desk.kill() == 1
            with pytest.raises(CallStoppedError):
                await anext(stream)
            assert desk.ran == [0, "closed"]
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

        run(main())

    def test_it_does_not_begin_after_a_kill(self, desk, kind, run):
        async def main():
            stream = desk.governed(stream_functions(desk)[kind])("x")
            stream = await stream if inspect.isawaitable(stream) else stream
            desk.kill()
            with pytest.raises(CallDeniedError):
                await anext(stream)
            assert desk.ran == []

        run(main())

    def test_it_runs_to_its_end_and_closing_it_ends_the_guard(self, desk, kind, run):
        async def main():
            for steps in (1, 3):
                desk.ran.clear()
                stream = desk.governed(stream_functions(desk)[kind])("x")
                stream = await stream if inspect.isawaitable(stream) else stream
                found = []
                async for step in stream:
                    found.append(step)
                    if len(found) == steps:
                        break
                await stream.aclose()
                assert found == list(range(steps))
                assert desk.ran == [*found, "closed"]
                assert desk.gate.in_flight == 0

        run(main())


@RUNNERS
def test_a_kill_cancels_a_step_under_way(desk, run):
    @desk.governed
    async def body():
        yield 0
        desk.kill()
        await pause(60)
        desk.ran.append("went on")

    async def main():
        stream = body()
        await anext(stream)
        with pytest.raises(CallStoppedError):
            await anext(stream)

    run(main())
    assert desk.ran == []


@RUNNERS
def test_a_kill_cancels_a_stream_that_is_being_closed(desk, run):
    @desk.governed
    async def body():
        try:
            yield 0
        finally:
            desk.kill()
            await pause(60)
            desk.ran.append("went on")

    async def main():
        stream = body()
        await anext(stream)
        with pytest.raises(CallStoppedError):
            await stream.aclose()

    run(main())
    assert desk.ran == []


@RUNNERS
def test_what_is_sent_or_thrown_into_a_stream_reaches_its_body(desk, run):
    @desk.governed
    async def body():
        while True:
            try:
                desk.ran.append((yield))
            except LookupError:
                desk.ran.append("thrown")
            assert current_guard() is not None

    async def main():
        stream = body()
        await anext(stream)
        await stream.asend("sent")
        await stream.athrow(LookupError())
        assert current_guard() is None
        desk.kill()
        with pytest.raises(CallStoppedError):
            await stream.athrow(LookupError())

    run(main())
    assert desk.ran == ["sent", "thrown"]


def test_a_cancellation_by_somebody_else_goes_through_a_stream(desk):
    @desk.governed
    async def body():
        try:
            yield 0
            await asyncio.sleep(60)
        finally:
            desk.ran.append("closed")

    async def read():
        async for _ in body():
            pass

    async def main():
        task = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert desk.ran == ["closed"]


def test_a_context_manager_of_a_governed_generator_holds_the_guard_to_its_end(desk):
    @contextmanager
    @desk.governed
    def session():
        yield "s"
        desk.ran.append("after")

    with session() as name:
        assert (name, desk.gate.in_flight) == ("s", 1)
    with pytest.raises(CallStoppedError), session():
        desk.kill()
    assert desk.ran == ["after"]


@pytest.mark.parametrize("made", [contextmanager, asynccontextmanager])
def test_a_function_that_makes_a_context_manager_is_refused(desk, made):
    with pytest.raises(TypeError, match="below @contextmanager"):
        desk.governed(made(lambda: None))


def test_what_cannot_be_called_or_held_is_refused_when_it_is_decorated(desk):
    with pytest.raises(TypeError, match="Govern its methods"):
        desk.governed(Tool)
    with pytest.raises(TypeError, match="below @property"):
        desk.governed(property(len))
    with pytest.raises(TypeError, match="arguments="):
        desk.governed(max)


def test_a_job_that_runs_elsewhere_is_cancelled_and_refused(desk):
    """Fails where a task or an executor's job is handed out: nothing would stop it."""

    @desk.governed
    def start():
        return asyncio.ensure_future(asyncio.sleep(60))

    async def main():
        with pytest.raises(TypeError, match="which no kill would stop"):
            start()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="runs elsewhere"):
        desk.governed(pool.submit)(int)


def test_methods_of_every_kind_and_order(desk):
    class Bank:
        @desk.governed
        def pay(self, amount):
            return ("pay", amount)

        @desk.governed
        async def send(self, amount):
            return ("send", amount)

        @staticmethod
        @desk.governed
        def inner_static(amount):
            return ("static", amount)

        @desk.governed
        @staticmethod
        def outer_static(amount):
            return ("static", amount)

        @classmethod
        @desk.governed
        def inner_class(cls, amount):
            return (cls, amount)

        @desk.governed
        @classmethod
        def outer_class(cls, amount):
            return (cls, amount)

    bank = Bank()
    assert bank.pay(1) == ("pay", 1)
    assert asyncio.run(bank.send(2)) == ("send", 2)
    assert bank.inner_static(3) == bank.outer_static(3) == Bank.outer_static(3) == ("static", 3)
    assert bank.inner_class(4) == bank.outer_class(4) == Bank.outer_class(4) == (Bank, 4)
    assert {tuple(call.args) for call in desk.calls} == {("amount",)}


def test_the_kind_of_a_function_stays_what_it_was(desk):
    assert inspect.iscoroutinefunction(desk.governed(coroutine_functions(desk)["object"]))
    assert inspect.isgeneratorfunction(desk.governed(generator_functions(desk)["def"]))
    assert inspect.isasyncgenfunction(desk.governed(stream_functions(desk)["async def"]))


def test_a_nursery_that_stays_open_across_a_yield_fails_at_the_yield(desk):
    """What docs/embedding.md says: trio finds its cancel scopes in disorder, and nothing after the yield runs."""

    @asynccontextmanager
    @desk.governed
    async def session():
        async with trio.open_nursery():
            yield
        desk.ran.append("after")

    async def main():
        async with session():
            desk.ran.append("inside")

    with pytest.raises((RuntimeError, BaseExceptionGroup)):
        trio.run(main)
    assert desk.ran == []
