"""A blocking client of the Unix socket, for agents in another process than the node: no trio, no event loop.

Only what an agent asks is here: decisions, and whether something changed. Its answers come from the node of
this host, over a socket of the user that the node runs as, so nothing of them is verified again.
"""

import os
import socket
import threading

from faramesh_mesh.records.ids import NO_MESH
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.control import protocol
from faramesh_mesh.runtime.control.answers import Answer, Challenge, Failed
from faramesh_mesh.runtime.control.errors import Refused, Unreachable, Untrusted
from faramesh_mesh.runtime.control.protocol import UnixTarget, parse_target
from faramesh_mesh.runtime.control.requests import NONCE_SIZE, Greeting, Request
from faramesh_mesh.runtime.control.transport import check_owner, check_peer
from faramesh_mesh.runtime.forks import renew_in_child

ANSWER_SECONDS = 2.0
"""A decision takes microseconds; a node that takes seconds is as good as gone, and the call is denied."""


class LocalClient:
    """One connection, made when it is first needed and again after it broke. Threads take turns."""

    def __init__(self, target: str, owner: int | None = None) -> None:
        """`target` is `unix:///path` or `/path`. Raises `ValueError` for anything else. `owner` is the user that the
        node runs as, where that is not the one of this process."""
        where = parse_target(target)
        if not isinstance(where, UnixTarget):
            raise ValueError(  # noqa: TRY004 - the text is wrong, not its type
                f"{target}: decisions are asked of the node on this machine, over its Unix socket"
            )
        self._path = where.path
        self._owner = owner
        self._turn = threading.Lock()
        self._sock: socket.socket | None = None
        renew_in_child(self._renew)

    def ask(self, request: Request, seconds: float = ANSWER_SECONDS, *, again: bool = True) -> Answer:
        """One request, one answer. Raises `Unreachable`, `Refused`, `Untrusted`.

        `again` is false for a request that means something to one run of the node only: where the connection broke
        since the last one it is `Unreachable`, and not asked of a node that was restarted.
        """
        with self._turn:
            fresh = self._sock is None
            try:
                return self._exchange(request, seconds)
            except Unreachable:
                if fresh or not again:
                    raise
                return self._exchange(request, seconds)  # the node may have been restarted since

    def close(self) -> None:
        """Close the connection. A later `ask` makes a new one."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _renew(self) -> None:
        """A forked child begins anew: the connection is its parent's, and so may the turn be, of a thread
        that is not here."""
        self._turn, self._sock = threading.Lock(), None

    def _exchange(self, request: Request, seconds: float) -> Answer:
        try:
            sock = self._connected()
            sock.settimeout(seconds)
            answer = _one(sock, request)
        except OSError as error:
            self.close()
            raise Unreachable(f"{self._path}: {error.strerror or error}; is the node running?") from None
        except BaseException:
            # Whatever broke in (Ctrl-C, a time limit that raises in a signal handler): the answer that was not read would be
            # taken for that of the next request, and a permit for another call's.
            self.close()
            raise
        if isinstance(answer, Failed):
            raise Refused(answer.code, answer.text)
        return answer

    def _connected(self) -> socket.socket:
        if self._sock is not None:
            return self._sock
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(ANSWER_SECONDS)
            check_owner(self._path, self._owner)
            sock.connect(self._path)
            check_peer(sock, self._path, self._owner)
            _greeted(_one(sock, Greeting(NO_MESH, 0, os.urandom(NONCE_SIZE))), self._path)
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        return sock


def _greeted(answer: Answer, path: str) -> None:
    if isinstance(answer, Failed):
        raise Refused(answer.code, answer.text)
    if not isinstance(answer, Challenge):
        raise Untrusted(f"{path}: not the control socket of a node")


def _one(sock: socket.socket, request: Request) -> Answer:
    sock.sendall(protocol.frame(request))
    (size,) = protocol.LENGTH.unpack(_exactly(sock, protocol.LENGTH.size))
    if size > protocol.MAX_MESSAGE:
        raise Untrusted(f"an answer of {size} bytes")
    answer = protocol.read_answer(_exactly(sock, size))
    if isinstance(answer, Rejected):
        raise Untrusted(f"an answer that cannot be read: {answer}")
    return answer


def _exactly(sock: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = sock.recv(min(size, 65_536))
        if not part:
            raise Unreachable("the node closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
