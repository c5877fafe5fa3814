"""The messages of docs/format.md are those of the code: numbers, names, and all that their readers ask for."""

from __future__ import annotations

from docs.recorder import recorded

from docs import page
from faramesh_mesh.gossip import framing, handshake, wire
from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.records.body import CHUNK
from faramesh_mesh.records.chain import MAX_SEQ
from faramesh_mesh.records.codec import Fields
from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime import addresses, enrol_wire
from faramesh_mesh.runtime.control import hello, protocol
from faramesh_mesh.runtime.tls import Lane

PAGE = page.sections("format.md")
BULK = {
    MessageType.ROOTS: "root envelopes, one after another",
    MessageType.URGENT: "envelopes, one after another",
    MessageType.RECORDS: "envelopes, one after another",
    MessageType.STATUSES: "envelopes, one after another",
    MessageType.PAGE: "following 8 · flags 1 (1 last, 2 turn) · envelopes, one after another",
    MessageType.CHUNK: f"digest 32 · index 2 · 1..{CHUNK} bytes",
}
"""The bodies that are no arrays."""


def _beat(fields: Fields) -> None:
    """A PING or PONG, which is read by hand."""
    fields.uint("token", MAX_SEQ)
    wire._summary_fields(fields)


def test_gossip_messages() -> None:
    assert set(BULK) == wire._BULK
    readers = {kind: read for kind, (_, read) in wire._READERS.items()} | dict.fromkeys(wire._BEATS, _beat)
    expected = [
        (str(int(kind)), kind.name, BULK.get(kind) or recorded(readers[kind])) for kind in MessageType
    ]
    found = page.table(PAGE["Gossip messages"], "type | message | fields | says")
    assert [(row["type"], row["message"], row["fields"]) for row in found] == expected
    assert all(row["says"] for row in found)


def test_enrol_messages() -> None:
    found = page.table(PAGE["Enrol messages"], "type | message | fields | says")
    documented = {int(row["type"]): row["fields"] for row in found}
    assert documented == {
        **{number: recorded(read) for number, read in enrol_wire._READERS.items()},
        7: "a root envelope",
    }
    for context in (enrol_wire._JOIN, enrol_wire._RENEW, enrol_wire._CERTIFIED):
        assert f"`{context.removesuffix(bytes(1)).decode()}`" in PAGE["Enrol messages"]


def test_control_messages() -> None:
    readers = {**protocol._REQUESTS, **protocol._ANSWERS}
    found = page.table(PAGE["Control API"], "tag | message | fields | says")
    assert [(int(row["tag"]), row["message"], row["fields"]) for row in found] == [
        (tag, read.__qualname__.partition(".")[0], recorded(read)) for tag, read in readers.items()
    ]
    assert all(tag < 64 for tag in protocol._REQUESTS)
    assert all(tag >= 64 for tag in protocol._ANSWERS)
    assert f"at most {protocol.MAX_MESSAGE}; {protocol.MAX_GREETING} before" in PAGE["Control API"]


def test_lanes() -> None:
    found = page.table(PAGE["Ports and lanes"], "lane | ALPN | the dialler shows | who it is, is proven by")
    assert [(row["lane"], row["ALPN"]) for row in found] == [(lane.name.lower(), lane.value) for lane in
                                                            (Lane.GOSSIP, Lane.ENROL, Lane.CONTROL)]  # fmt: skip
    assert f"by default {addresses.DEFAULT_PORT}" in PAGE["Ports and lanes"]


def test_a_frame_is_its_length_type_and_body() -> None:
    assert framing.frame(7, b"body") == b"\x00\x05\x07body"
    assert f"at most {framing.MAX_FRAME} bytes without its\nlength" in PAGE["Gossip messages"]
    assert enrol_wire._frame(7, b"body") == b"\x00\x04\x07body"


def test_proofs_are_over_what_the_page_says() -> None:
    mesh, one, other = MeshId(b"m" * 32), b"1" * 32, b"2" * 32
    assert handshake.proof_bytes(mesh, one, other) == b"faramesh-mesh hello v1\0" + mesh + one + other
    nonces = b"c" * 32, b"n" * 32
    tail = mesh + one + bytes(32) + b"c" * 32 + b"n" * 32
    assert hello.server_bytes(mesh, one, *nonces) == b"faramesh-mesh control node v1\0" + tail
    assert hello.client_bytes(mesh, one, *nonces) == b"faramesh-mesh control client v1\0" + tail
    for text in ("hello v1", "control node v1", "control client v1"):
        assert f'"faramesh-mesh {text}"' in PAGE["Gossip messages"] + PAGE["Control API"]
    assert f"within {handshake.DEADLINE // 10**9} seconds" in PAGE["Gossip messages"]
