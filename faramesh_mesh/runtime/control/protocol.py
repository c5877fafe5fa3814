"""The wire of the control API: `u32 length | canonical MessagePack [tag, fields...]`, requests and answers by turns.

Lengths are checked before anything is read: a client that has not proved itself may send 4 KiB at a time, so garbage
on the port costs the node next to nothing.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from faramesh_mesh.records.codec import MAX_ITEMS, MAX_RECORD_ITEMS, Fields, decode, encode
from faramesh_mesh.records.policy import MAX_BODY
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.runtime.addresses import AddressError, parse_address
from faramesh_mesh.runtime.control import answers, requests
from faramesh_mesh.runtime.control.answers import Answer
from faramesh_mesh.runtime.control.requests import Request

ALPN = "fmesh-control/1"
LENGTH = struct.Struct(">I")
MAX_MESSAGE = MAX_BODY + 262_144
"""Bytes: a largest body with records around it."""
MAX_GREETING = 4_096
"""Bytes of a message of a client that has not proved itself."""
PAGE = 524_288
"""Bytes after which a page of roots or of records ends. One of each, as an answer to a pull carries, fits a message."""


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """The Unix socket of a node on this machine."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """The mesh port of any node."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Target: TypeAlias = UnixTarget | TcpTarget


def parse_target(text: str) -> Target:
    """Read `unix:///path`, `/path`, `host`, `host:port` or `[v6]:port`. Raises `ValueError` saying what is expected."""
    if text.startswith("unix://"):
        text = text.removeprefix("unix://")
        if not text.startswith("/"):
            raise ValueError(f"unix://{text}: the path must be absolute, as in unix:///run/mesh/control.sock")
    if text.startswith("/"):
        return UnixTarget(text)
    try:
        address = parse_address(text)
    except AddressError as error:
        raise ValueError(f"{error}; or a socket, as unix:///path") from None
    if not address.port:
        raise ValueError(f"{text!r}: expected host:port or unix:///path")
    return TcpTarget(address.host, address.port)


def frame(message: Request | Answer) -> bytes:
    """A message as it goes over the wire, length included."""
    body = encode([message.TAG, *message.fields()])
    return LENGTH.pack(len(body)) + body


def read_request(body: bytes, *, proven: bool = True) -> Request | Rejected:
    """Read a request without its length, or say why it cannot be read. `proven` is false for a client that has not
    proved itself: it gets no room for long arrays (see the codec)."""
    return _read(body, _REQUESTS, "request", MAX_ITEMS if proven else MAX_RECORD_ITEMS)


def read_answer(body: bytes) -> Answer | Rejected:
    """Read an answer without its length, or say why it cannot be read."""
    return _read(body, _ANSWERS, "answer", MAX_ITEMS)


_Message = TypeVar("_Message")


def _read(
    body: bytes, readers: dict[int, Callable[[Fields], _Message]], what: str, longest: int
) -> _Message | Rejected:
    try:
        fields = decode(body, what, longest)
        read = readers.get(fields.uint("tag"))
        if read is None:
            return Rejected(Reason.UNKNOWN_MESSAGE, what)
        message = read(fields)
        fields.end()
    except Malformed as error:
        return error.rejected()
    return message


_REQUESTS: dict[int, Callable[[Fields], Request]] = {
    message.TAG: message.read
    for message in (
        requests.Greeting,
        requests.Proof,
        requests.AskInfo,
        requests.Pull,
        requests.AskIds,
        requests.Fetch,
        requests.AskStatuses,
        requests.AskBody,
        requests.Offer,
        requests.Holds,
        requests.Decide,
        requests.AskAudit,
        requests.AskCounters,
        requests.AskLinks,
        requests.Watch,
    )
}
_ANSWERS: dict[int, Callable[[Fields], Answer]] = {
    message.TAG: message.read
    for message in (
        answers.Challenge,
        answers.Welcome,
        answers.Failed,
        answers.NodeInfo,
        answers.RecordPage,
        answers.IdPage,
        answers.StatusPage,
        answers.BodyAnswer,
        answers.Outcomes,
        answers.Held,
        answers.Decided,
        answers.AuditPage,
        answers.Counters,
        answers.Links,
        answers.Changes,
    )
}
