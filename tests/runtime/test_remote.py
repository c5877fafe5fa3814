"""The gate of a node in another process: nothing is permitted once it is closed, and no kill is missed over a restart."""

import contextvars
import copy
import os
import pickle
import signal
import socket
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from runtime.meshes import PAY

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime.control import protocol
from faramesh_mesh.runtime.control.answers import Challenge, Changes, Decided
from faramesh_mesh.runtime.control.requests import Decide, Greeting, Watch
from faramesh_mesh.runtime.guards import CallDeniedError
from faramesh_mesh.runtime.mesh import Mesh

PERMIT, KILLED, NOT_READY = (Effect.PERMIT, Why.RULE), (Effect.DENY, Why.KILLED), (Effect.DENY, Why.NOT_READY)
SOON = 4.0
"""Less than a node keeps a question for changes."""


class Node:
    """What a node answers on its socket, as it is told."""

    def __init__(self, path, generation=5, says=PERMIT):
        self.generation, self.says, self.asked = generation, says, 0
        self.let_go = threading.Event()
        self.let_go.set()
        self._path, self._open, self._stopped = path, [], False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._stopped = True
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        Path(self._path).unlink()

    def _accept(self):
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                if self._stopped:
                    sock.close()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with suppress(OSError, EOFError):
            file = sock.makefile("rb")
            while head := file.read(4):
                request = protocol.read_request(file.read(*protocol.LENGTH.unpack(head)))
                sock.sendall(protocol.frame(self._answer(request)))

    def _answer(self, request):
        match request:
            case Greeting():
                return Challenge(MeshId(bytes(32)), (), bytes(32), (), bytes(32), bytes(64))
            case Decide():
                self.asked += 1
                effect, why = self.says
                self.let_go.wait()
                return Decided(effect.value, why.value, "", 0, None, None, "", "", self.generation)
            case Watch(generation):
                while self.generation <= generation and not self._stopped:
                    time.sleep(0.01)
                return Changes(self.generation)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "s")


@pytest.fixture
def node(path):
    node = Node(path)
    yield node
    if Path(path).exists():
        node.stop()


@pytest.fixture
def mesh(path, node):
    with Mesh.connect(path) as mesh:
        assert mesh.decide(PAY).permits
        yield mesh


def stops(guard, within=SOON):
    end = time.monotonic() + within
    while not guard.stopped and time.monotonic() < end:
        time.sleep(0.01)
    return guard.stopped


def test_a_connection_that_was_closed_denies(mesh):
    """Fails where a closed gate connects anew when it is asked."""
    mesh.close()
    decision = mesh.decide(PAY)
    assert (decision.effect, decision.why) == (Effect.DENY, Why.POISONED)
    with pytest.raises(CallDeniedError), mesh.guard(PAY):
        raise AssertionError("it must not run")


def test_an_answer_that_comes_after_the_connection_was_closed_is_a_denial(mesh, node):
    """Fails where only the question looks whether the gate is closed: nothing would watch over the call."""
    node.let_go.clear()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(mesh.decide(PAY)))
    before = node.asked
    asking.start()
    while node.asked == before:
        time.sleep(0.01)
    mesh._node._closed.set()
    node.let_go.set()
    asking.join()
    assert answers[0].why is Why.POISONED


def test_a_kill_that_came_while_the_node_was_restarted_stops_calls_in_flight(mesh, node, path):
    """Fails where the new run is asked with the old run's generation: here both count five changes."""
    with mesh.guard(PAY) as guard:
        node.generation += 1
        time.sleep(0.1)  # the watcher has heard of it
        node.stop()
        again = Node(path, node.generation, KILLED)
        assert stops(guard)
    again.stop()


def test_a_kill_behind_a_node_that_is_not_ready_is_not_missed(mesh, node):
    """Fails where calls in flight are judged once a change, whatever the node answered."""
    with mesh.guard(PAY) as guard:
        node.says = NOT_READY
        node.generation += 1
        assert not stops(guard, 0.2)
        node.says = KILLED
        assert stops(guard)


def test_a_kill_reaches_the_calls_of_a_forked_child(mesh, node):
    """Fails where the child inherits the lock of the connection that its parent watches on."""
    reading, writing = os.pipe()
    with mesh.guard(PAY):
        time.sleep(0.1)  # the parent's watcher waits for an answer
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what is tested here
            child = os.fork()
        if child == 0:
            with mesh.guard(PAY) as guard:
                os.write(writing, b"in flight|")
                os.write(writing, b"stopped" if stops(guard) else b"ran on")
                os._exit(0)
        said = os.read(reading, 64)
        node.says = KILLED
        node.generation += 1
        os.waitpid(child, 0)
        assert said + os.read(reading, 64) == b"in flight|stopped"
    os.close(reading)
    os.close(writing)


class TimeLimit(BaseException):
    """What a task queue raises in the middle of anything."""


def test_an_answer_that_was_not_read_is_not_taken_for_that_of_the_next_call(mesh, node):
    """Fails where only errors of the connection close it: after a time limit or Ctrl-C between question and answer the permit of one
    call was that of the next."""

    def raises(_number, _frame):
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, raises)
    node.let_go.clear()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeLimit):
            mesh.decide(PAY)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    node.let_go.set()
    node.says = KILLED
    assert mesh.decide(PAY).why is Why.KILLED


def test_a_child_that_was_forked_while_the_watcher_was_started_begins_calls(mesh, node):
    """Fails where the child inherits the lock: it hung, and its call with it."""
    with mesh._node._starting:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what is tested here
            child = os.fork()
        if child == 0:
            signal.alarm(10)
            with mesh.guard(PAY):
                os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_child_that_was_forked_while_a_thread_asked_decides(mesh, node):
    """Fails where the child inherits the turn of a thread that is not there: it hung."""
    node.let_go.clear()
    before = node.asked
    asking = threading.Thread(target=mesh.decide, args=(PAY,))
    asking.start()
    while node.asked == before:
        time.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what is tested here
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(0 if mesh.decide(PAY).permits else 1)
    node.let_go.set()
    _, status = os.waitpid(child, 0)
    asking.join()
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("value", [{"ab"}, iter(["xy"]), object()])
def test_what_is_not_json_is_denied_and_left_as_it_is(mesh, value):
    decision = mesh.decide(Call("pay", {"to": value}))
    assert (decision.effect, decision.why) == (Effect.DENY, Why.EVALUATION_ERROR)
    if not isinstance(value, set | str) and hasattr(value, "__next__"):
        assert list(value) == ["xy"]


def test_a_guard_that_is_left_in_another_context_ends_and_is_for_one_call(mesh):
    """A dependency of a web framework that yields is entered and left in different contexts."""
    guard = mesh.guard(PAY)
    contextvars.copy_context().run(guard.__enter__)
    contextvars.copy_context().run(guard.__exit__, None, None, None)
    assert not mesh._node._flights
    with pytest.raises(RuntimeError, match="one call"):
        guard.__enter__()


def test_a_denial_travels_between_processes():
    denied = CallDeniedError(PAY, Decision(Effect.DENY, Why.KILLED, text="rogue"))
    again = copy.deepcopy(denied)  # by the same means as pickling
    assert (str(again), again.call, again.decision) == (str(denied), PAY, denied.decision)
    assert copy.deepcopy(Call("pay")) == Call("pay")
    assert pickle.dumps(denied)
