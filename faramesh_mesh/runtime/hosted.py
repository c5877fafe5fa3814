"""A node in a thread of its own, for hosts that are not trio."""

import atexit
import os
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path

import trio

from faramesh_mesh.runtime.enforcement import new_gate
from faramesh_mesh.runtime.groups import told
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.node import RunningNode, open_node

STOP_SECONDS = 5.0
"""How long `close`, and a start that took too long, wait for the thread. The gate denies from the first
moment of it."""


class StartTimeoutError(TimeoutError):
    """The node did not serve in time and was stopped. The text says whether its home is free again."""


class HostedNode:
    """Runs `open_node` in a daemon thread. If that thread dies, the gate denies: at once, or when its
    deadline passes."""

    def __init__(self, home: Path, log: Log | None) -> None:
        self.gate = new_gate()
        self._home = home
        self._pid = os.getpid()
        self._log = log
        self._begun: Future[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = Future()
        """How to break off a start: known before it begins, because it may last (the seeds of a lost store
        are silent)."""
        self._started: Future[tuple[RunningNode, trio.lowlevel.TrioToken, trio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="mesh-node", daemon=True)

    def start(self, timeout: float) -> None:
        """Start the thread and wait until the node serves. Raises what `open_node` raised; after `timeout`
        seconds, and at most `STOP_SECONDS` for the thread to end, `StartTimeoutError`."""
        atexit.register(self._end_of_process)
        self._thread.start()
        done, _ = wait((self._started,), timeout)
        if not done:
            self._break_off()
            home = "its home is in use until it has stopped" if self._thread.is_alive() else "it was stopped"
            raise StartTimeoutError(f"the node did not serve within {timeout:g} s: {home}")
        self._started.result()

    def wait_ready(self, timeout: float) -> bool:
        """Block until the node has synced, at most so many seconds. Whether it has."""
        node, token, _ = self._started.result()

        async def wait() -> bool:
            with trio.move_on_after(timeout):
                await node.wait_ready()
            return node.ready

        try:
            return trio.from_thread.run(wait, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled):
            return False

    def close(self) -> None:
        """Stop the node and wait for its thread."""
        self.gate.poison("the node was closed")
        if self._started.done() and self._started.exception() is None:
            _, token, stop = self._started.result()
            try:
                token.run_sync_soon(stop.set)
            except trio.RunFinishedError:
                return
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _end_of_process(self) -> None:
        """`sys.exit`, or the end of the main thread, without `close`: an end in order all the same. In a forked child
        there is no thread to stop."""
        if self._pid == os.getpid():
            self.close()

    def _break_off(self) -> None:
        """End a start that lasts too long: the thread lets go of the store and of the home's lock."""
        self.gate.poison("the node did not start in time")
        token, scope = self._begun.result()
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(scope.cancel)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self.gate.poison(f"the node has died: {told(error)}")
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            atexit.unregister(self._end_of_process)

    async def _main(self) -> None:
        stop, token = trio.Event(), trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            self._begun.set_result((token, scope))
            async with open_node(self._home, log=self._log, gate=self.gate) as node:
                self._started.set_result((node, token, stop))
                await stop.wait()
