"""HELLO: who is at the other end of this very link, and whether it belongs here.

    dialler                                    acceptor
      | ==== TLS 1.3: two certificates ========= |
      | ---- HELLO key, roots, enrolments, ---> |
      |        Sign(context, mesh, H(own        |
      |        certificate), H(the other's))    |
      | <--- HELLO, the same from there -------- |
      |                                         |
     FULL if the key's node is enrolled here and its certificate runs, else LIMITED

The signature covers both certificates, so it holds on no other link: whoever records a HELLO cannot use it,
and a key of a certificate is worth nothing without the key of the node. The order of checks is by cost: mesh,
version, shun list, signature; then the peer's roots and enrolments go through the same gate as any record.
"""

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.links import Link, Links, Stage
from faramesh_mesh.gossip.messages import PROTOCOL, Hello
from faramesh_mesh.records.ids import KeyId, MeshId, key_id
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, Verify

CONTEXT = b"faramesh-mesh hello v1\0"
DEADLINE = 5 * SECOND
"""From the end of TLS to the peer's HELLO. A slow WAN with two losses needs 3 s."""
MAX_HALF_OPEN = 64
"""Links whose peer has not yet said who it is. A thousand sockets that say nothing must not cost a thousand links."""
LAPSED_LASTS = 10 * SECOND
"""A limited link of a lapsed peer is given up after so long. Longer, and a region whose certificates were
renewed late stays half blind: neither statuses nor bodies pass. Control records do, all the time."""
MAX_LIMITED = 16
"""Links of peers that are not enrolled here, or whose certificates ran out: they may pull control records, a
few at a time."""
IN_PASSING = 4
"""Full links beyond the cap that an urgent NEIGHBOUR or a rotation holds for a moment."""
_ROOTS_ROOM = 1_024
"""Bytes of roots in HELLO: the last one or two, for a peer that is a rotation behind, and the last one in any
case, by which two sides of a fork of one length know each other. Whoever lacks more gets them as ROOTS. Were
all of them in it, every dial of a mesh that has rotated its root thirty times would carry 14 KB each way,
nearly always for nothing."""
_ENROLMENTS_ROOM = 24_576
"""Bytes of enrolments in HELLO, so that it fits its frame."""


def most_links(cap: int) -> int:
    """How many links a node has at the most: no more are accepted. When five thousand hosts start at once all
    of them dial the few that are up already, and whoever is told to go elsewhere leaves only when word has
    come back."""
    return cap + IN_PASSING + MAX_HALF_OPEN + MAX_LIMITED


def proof_bytes(mesh: MeshId, signer_certificate: bytes, other_certificate: bytes) -> bytes:
    """What a HELLO's proof signs. The certificates are given by their SHA-256."""
    return CONTEXT + mesh + signer_certificate + other_certificate


def make_hello(
    link: Link,
    chain: RootChain,
    signer: Signer,
    incarnation: int,
    address: str,
    enrolments: tuple[bytes, ...],
) -> Hello:
    """This node's HELLO for one link."""
    return Hello(
        PROTOCOL,
        chain.mesh,
        signer.public,
        incarnation,
        address,
        chain.height,
        newest(chain.documents[1:], max(_ROOTS_ROOM, len(chain.documents[-1]))),
        newest(enrolments, _ENROLMENTS_ROOM),
        signer.sign(proof_bytes(chain.mesh, link.ours, link.theirs)),
    )


def newest(items: tuple[bytes, ...], room: int) -> tuple[bytes, ...]:
    """As many of the last items as fit, in order."""
    start = len(items)
    while start and len(items[start - 1]) <= room:
        start -= 1
        room -= len(items[start])
    return items[start:]


def check(hello: Hello, link: Link, own: KeyId, mesh: MeshId, verify: Verify) -> KeyId | Rejected:
    """The id of the node that proved itself, or why it did not."""
    if hello.mesh != mesh:
        return Rejected(Reason.WRONG_MESH, f"mesh {hello.mesh.hex()[:16]}")
    if hello.version != PROTOCOL:
        return Rejected(Reason.UNKNOWN_VERSION, f"protocol {hello.version}, this node speaks {PROTOCOL}")
    if not verify(hello.public, proof_bytes(mesh, link.theirs, link.ours), hello.proof):
        return Rejected(Reason.BAD_HELLO, "the proof is not for this link")
    node = key_id(hello.public)
    if node == own:
        return Rejected(Reason.UNEXPECTED, "this node itself")
    return node


def overdue(links: Links, mono: int) -> list[Link]:
    """Links whose peer should have said HELLO by now."""
    return [
        link for link in links.all.values() if link.stage is Stage.GREETING and mono - link.opened > DEADLINE
    ]


def outlived(links: Links, mono: int) -> list[Link]:
    """Limited links whose peer's certificate had run out when they were opened, long ago: it may have been
    renewed since, which only a new handshake shows."""
    return [
        link
        for link in links.all.values()
        if link.stage is Stage.LIMITED and link.lapsed and mono - link.opened > LAPSED_LASTS
    ]


def surplus(link: Link, rivals: list[Link], own: KeyId, mono: int) -> Link | None:
    """Which of two links to one node ends, once a second one (`link`) has proven itself; None while both may stay.

    A higher incarnation wins: the other link is a remnant of the life before. Else crossed dials keep the one dialled
    by the smaller node id, which both ends work out alike. Two dials by one node are ended by that node, which alone
    knows which is older; and a link that has been silent for longer than a ping takes loses to a fresh one.
    """
    assert link.node is not None  # noqa: S101 - only proven links are compared
    for rival in rivals:
        if rival is link:
            continue
        if rival.incarnation != link.incarnation:
            return rival if rival.incarnation < link.incarnation else link
        if mono - rival.heard > _SILENT:
            return rival
        if (rival.dialled is None) != (link.dialled is None):
            keep_ours = own < link.node
            return link if (link.dialled is not None) != keep_ours else rival
        if link.dialled is not None:
            return link
    accepted = [rival for rival in rivals if rival.dialled is None]
    return accepted[0] if len(accepted) > _MOST_ACCEPTED else None


_SILENT = SECOND + SECOND // 2
_MOST_ACCEPTED = 2
"""Links that one node may have dialled to us: two for the moment in which it makes up its mind."""
