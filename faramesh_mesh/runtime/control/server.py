"""The node's side of the control API: connections, their limits and deadlines, and the handshake."""

from dataclasses import dataclass
from typing import NoReturn

import trio

from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.control import hello, protocol
from faramesh_mesh.runtime.control.answers import Answer, Code, Failed, Outcomes, Welcome
from faramesh_mesh.runtime.control.desk import Desk, Session
from faramesh_mesh.runtime.control.requests import MAX_ARGUMENTS, Decide, Greeting, Proof, Request, Watch
from faramesh_mesh.runtime.driver import Opened
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.places import Places
from faramesh_mesh.runtime.tls import NO_CERTIFICATE
from faramesh_mesh.trust.keys import Verify

MAX_REMOTE = 32
"""Clients over TCP: operators and their scripts. Each may hold 1.3 MB of a message."""
MAX_LOCAL = 128
"""Clients of the Unix socket, and as many of the agents' socket: the agents of one host, which stay connected."""
MAX_GREETING = 32
"""Connections over TCP that have not proved a key yet. A newer one takes the place of the oldest: strangers
who connect and say nothing must not keep operators out, and whoever has a key proves it in two round
trips."""
GREETING_SECONDS = 5.0
"""From the connection to the client's proof."""
IDLE_SECONDS = 300.0
"""Between two requests over TCP. On the Unix socket agents stay."""
MESSAGE_SECONDS = 15.0
"""From the first byte of a request to its last, and for the answer to be taken: 90 KB/s for the largest."""
MAX_REFUSALS = 100
"""Offered records that may be refused on one connection: each costs a signature check, and an honest client
verifies before it offers."""
_RECEIVE = 65_536


class _EndedError(Exception):
    """The connection is over. The text says why, empty for a client that simply left."""


@dataclass(slots=True)
class _Wire:
    """Messages over one stream."""

    stream: trio.abc.Stream
    buffer: bytearray

    async def request(self, largest: int, patience: float | None) -> bytes:
        """The next request without its length. `patience` seconds for its first byte."""
        with trio.move_on_after(float("inf") if patience is None else patience) as waiting:
            while not self.buffer:
                await self._more()
        if waiting.cancelled_caught:
            raise _EndedError("idle")
        with trio.move_on_after(MESSAGE_SECONDS):
            (size,) = protocol.LENGTH.unpack(await self._exactly(protocol.LENGTH.size))
            if size > largest:
                raise _EndedError(f"a request of {size} bytes, {largest} are allowed")
            return await self._exactly(size)
        raise _EndedError(f"a request that took longer than {MESSAGE_SECONDS:g} s")

    async def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self._more()
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def _more(self) -> None:
        data = await self.stream.receive_some(_RECEIVE)
        if not data:
            raise _EndedError("cut short" if self.buffer else "")
        self.buffer += data

    async def answer(self, answer: Answer) -> None:
        """Send an answer."""
        with trio.move_on_after(MESSAGE_SECONDS):
            await self.stream.send_all(protocol.frame(answer))
            return
        raise _EndedError("it does not take its answers")


MAX_DECISION = MAX_ARGUMENTS + 2_048
"""Bytes of a request at the agents' socket: the arguments of a call with its names around them. What a
hundred programs of others can make a node hold is then 9 MB, and not 170."""


class _AgentSession(Session):
    """A program of another user: it may ask for decisions only."""

    __slots__ = ()


class ControlServer:
    """Serves the clients of one node."""

    def __init__(self, desk: Desk, verify: Verify, log: Log) -> None:
        self._desk = desk
        self._verify = verify
        self._log = log
        self._remote = 0
        """Clients over TCP that have proved a key."""
        self._greeting = Places(MAX_GREETING)
        """Those that have not."""
        self._local = 0
        self._agents = 0

    async def serve_local(self, stream: trio.SocketStream) -> None:
        """Serve one connection of the Unix socket."""
        self._local += 1
        try:
            session = Session(local=True, certificate=NO_CERTIFICATE, proven=True)
            await self._serve(stream, session, full=self._local > MAX_LOCAL)
        finally:
            self._local -= 1

    async def serve_agents(self, stream: trio.SocketStream) -> None:
        """Serve one connection of the agents' socket: decisions, and whether something changed."""
        self._agents += 1
        try:
            session = _AgentSession(local=True, certificate=NO_CERTIFICATE, proven=True)
            await self._serve(stream, session, full=self._agents > MAX_LOCAL)
        finally:
            self._agents -= 1

    async def serve_remote(self, opened: Opened) -> None:
        """Serve one connection of the control lane."""
        stream, peer = opened
        session = Session(local=False, certificate=peer.ours, proven=False)
        try:
            await self._serve(stream, session, full=False)
        finally:
            self._remote -= session.proven

    async def _serve(self, stream: trio.abc.Stream, session: Session, *, full: bool) -> None:
        wire = _Wire(stream, bytearray())
        try:
            if full:
                await wire.answer(Failed(Code.BUSY, "too many clients: try again, or another node"))
                return
            with trio.CancelScope() if session.proven else self._greeting.take() as greeting:
                try:
                    await self._greet(wire, session)
                finally:
                    self._greeting.leave(greeting)
            if greeting.cancelled_caught:
                why = "a newer connection took its place"
                self._log.limited("control", "client dropped", why=why, local=False)
                return
            await self._answer_all(wire, session)
        except _EndedError as error:
            if str(error):
                self._log.limited("control", "client dropped", why=str(error), local=session.local)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone: there is nobody to tell
        finally:
            await trio.aclose_forcefully(stream)

    async def _greet(self, wire: _Wire, session: Session) -> None:
        with trio.move_on_after(GREETING_SECONDS):
            message, told = await self._unproven(wire), 0
            if not isinstance(message, Greeting):
                await self._refuse(wire, Code.MALFORMED, "the first message greets")
            while isinstance(message, Greeting) and message.root_version >= told:
                challenge = self._desk.challenge(message, session)
                await wire.answer(challenge)
                if isinstance(challenge, Failed):
                    raise _EndedError("another mesh")
                if session.proven:
                    return
                # Who greets again has taken in all roots it was told and is told the rest: each goes over once.
                told = message.root_version + max(1, len(challenge.roots))
                message = await self._unproven(wire)
            if not isinstance(message, Proof):
                await self._refuse(wire, Code.NOT_AUTHORISED, "over TCP, prove a role key of this mesh first")
            key = hello.proven_role(
                message,
                self._desk.chain,
                session.certificate,
                session.client_nonce,
                session.server_nonce,
                self._verify,
            )
            if key is None:
                await self._refuse(wire, Code.NOT_AUTHORISED, "no key of this mesh's root proved itself")
            if self._remote >= MAX_REMOTE:
                await self._refuse(wire, Code.BUSY, "too many clients: try again, or another node")
            self._remote += 1
            session.proven = True
            await wire.answer(Welcome())
            return
        raise _EndedError(f"no proof within {GREETING_SECONDS:g} s")

    async def _unproven(self, wire: _Wire) -> Request | Rejected:
        return protocol.read_request(await wire.request(protocol.MAX_GREETING, None), proven=False)

    async def _refuse(self, wire: _Wire, code: Code, text: str) -> NoReturn:
        await wire.answer(Failed(code, text))
        raise _EndedError(text)

    async def _answer_all(self, wire: _Wire, session: Session) -> None:
        refusals = 0
        while True:
            patience = None if session.local else IDLE_SECONDS
            largest = MAX_DECISION if isinstance(session, _AgentSession) else protocol.MAX_MESSAGE
            request = protocol.read_request(await wire.request(largest, patience))
            if isinstance(request, Rejected):
                await self._refuse(wire, Code.MALFORMED, str(request))
            if isinstance(session, _AgentSession) and not isinstance(request, Decide | Watch):
                await self._refuse(wire, Code.NOT_AUTHORISED, "the agents' socket answers decisions only")
            answer = await self._desk.answer(request, session)
            await wire.answer(answer)
            if isinstance(answer, Outcomes):
                refusals += sum(outcome.rejected is not None for outcome in answer.outcomes)
                if refusals > MAX_REFUSALS:
                    raise _EndedError(f"{refusals} of its offers were refused")
