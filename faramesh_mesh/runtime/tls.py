"""TLS 1.3 on the one port of a node: who shows a certificate, to whom, on which lane.

    lane (ALPN)        the dialler shows   checked in TLS                     who it is, is proven by
    fmesh-gossip/1     its certificate     both ends, by `Root.authorities`   the certificate, then HELLO
    fmesh-enrol/1      nothing needed      -                                  signatures over both certificates' hashes
    fmesh-control/1    nothing             -                                  a role key's signature, the same way

Three settings need a word:
- A client certificate is optional in the handshake, because whoever joins has none; an unknown or self-signed one is
  refused all the same. Which lane needs one is judged right after the handshake, by `peer_of`: until then the lane is
  not known to the code that could refuse.
- Certificates that have run out still connect (`NO_CHECK_TIME`). A node that lapsed because every enroller was
  down must still get kills; `Peer.lapsed` lets HELLO give it the lane in which it can only pull, push
  restrictions and renew.
- On the control and enrol lanes the client does not check the server's certificate: a machine that joins knows
  only the mesh id, and an operator dials any node by any address. What comes back proves itself: the root chain
  by its pinned first version, records by their signatures; and what the client signs covers the certificate it
  saw, so a proof that somebody in the middle passes on does not hold at the real node.

In TLS 1.3 a client believes in success before the server has judged its certificate: a refusal shows at the first read.
"""

import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path

from faramesh_mesh.records.ids import KEY_ID_SIZE, KeyId, MeshId
from faramesh_mesh.runtime.certificates import fingerprint, spiffe_id

NO_CERTIFICATE = bytes(32)
"""Stands for the fingerprint of an end that showed no certificate."""

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the `ssl` module has no name for."""

_HEX = frozenset("0123456789abcdef")


@unique
class Lane(StrEnum):
    """What a connection is for: its ALPN protocol name."""

    GOSSIP = "fmesh-gossip/1"
    ENROL = "fmesh-enrol/1"
    CONTROL = "fmesh-control/1"


class LaneError(Exception):
    """The handshake succeeded, but the connection cannot be used for what it asked. Close it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The two ends of an encrypted connection. `ours` and `theirs` are SHA-256 of the certificates in DER,
    `NO_CERTIFICATE` for an end that showed none. `node` is whom the other end's certificate names, None
    unless an authority of this mesh issued it; `lapsed` is true when that certificate has run out."""

    lane: Lane
    ours: bytes
    theirs: bytes
    node: KeyId | None
    lapsed: bool


def server_context(link: Path, authorities: Iterable[bytes]) -> ssl.SSLContext:
    """For the listener: all lanes, client certificates optional but never unknown ones.

    Raises `OSError`, `ssl.SSLError` when `link` cannot be read. A renewed certificate is taken into use by
    `context.load_cert_chain(link)`, for connections that begin after it.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, tuple(Lane))
    context.load_cert_chain(link)
    context.num_tickets = 0  # nobody resumes: tickets would be 500 bytes on each connection
    context.verify_mode = ssl.CERT_OPTIONAL
    add_authorities(context, authorities)
    return context


def gossip_context(link: Path, authorities: Iterable[bytes]) -> ssl.SSLContext:
    """For dialling the gossip lane: shows our certificate, wants one by an authority of the mesh.

    No hostname is checked: an address is a suggestion. The certificate must name a node of the mesh (`peer_of`), and
    HELLO, signed over the certificate, proves which node it is.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, (Lane.GOSSIP,))
    context.load_cert_chain(link)
    context.verify_mode = ssl.CERT_REQUIRED
    add_authorities(context, authorities)
    return context


def open_context(lane: Lane) -> ssl.SSLContext:
    """For dialling the control or enrol lane: no certificate is shown, none is verified; see above why."""
    if lane is Lane.GOSSIP:
        raise ValueError("the gossip lane is never open")
    context = _context(ssl.PROTOCOL_TLS_CLIENT, (lane,))
    context.verify_mode = ssl.CERT_NONE
    return context


def add_authorities(context: ssl.SSLContext, authorities: Iterable[bytes]) -> None:
    """Trust more authorities (DER) from the next handshake on. One that is there already changes nothing.

    There is no taking back in place: for a root that drops an authority make a new context. One that cannot
    be read is passed over: it vouches for nobody, and a root in which it stands by mistake must not stop
    every node that holds it.
    """
    for authority in authorities:
        with suppress(ssl.SSLError, ValueError):
            context.load_verify_locations(cadata=authority)


def peer_of(tls: ssl.SSLObject | ssl.SSLSocket, mesh: MeshId, ours: bytes, wall_ms: int) -> Peer:
    """What an established connection is, right after its handshake. `ours` is the fingerprint of the
    certificate that this end showed. Raises `LaneError`: no common lane, or the gossip lane without a
    certificate that names a node of this mesh.
    """
    try:
        lane = Lane(tls.selected_alpn_protocol() or "")
    except ValueError:
        raise LaneError(f"no common lane: offer one of {', '.join(Lane)} by ALPN") from None
    certificate = tls.getpeercert(binary_form=True)
    if certificate is None:
        if lane is Lane.GOSSIP:
            raise LaneError("the gossip lane needs the certificate of a node: join first, or renew")
        return Peer(lane, ours, NO_CERTIFICATE, None, lapsed=False)
    node, lapsed = _named(tls, mesh, wall_ms)
    if lane is Lane.GOSSIP and node is None:
        raise LaneError("the certificate names no node of this mesh")
    return Peer(lane, ours, fingerprint(certificate), node, lapsed)


def expires_ms(tls: ssl.SSLObject | ssl.SSLSocket) -> int | None:
    """When the other end's certificate runs out (milliseconds since 1970); None when it was not verified."""
    facts = tls.getpeercert()
    end = facts.get("notAfter") if facts else None
    return ssl.cert_time_to_seconds(end) * 1_000 if isinstance(end, str) else None


def _named(tls: ssl.SSLObject | ssl.SSLSocket, mesh: MeshId, wall_ms: int) -> tuple[KeyId | None, bool]:
    """Whom the other end's certificate names and whether it has run out. `getpeercert` gives the fields of a
    certificate only when it was verified, so a name is never read from one that anybody could have made."""
    end = expires_ms(tls)
    facts = tls.getpeercert()
    if end is None or not facts:
        return None, False
    prefix = spiffe_id(mesh, KeyId(b""))
    names = facts.get("subjectAltName", ())
    for name in names if isinstance(names, tuple) else ():
        match name:
            case ("URI", str(uri)) if uri.startswith(prefix):
                node = uri.removeprefix(prefix)
                if len(node) == 2 * KEY_ID_SIZE and set(node) <= _HEX:
                    return KeyId(bytes.fromhex(node)), wall_ms >= end
    return None, False


def _context(protocol: int, lanes: tuple[Lane, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= _NO_CHECK_TIME
    context.set_alpn_protocols(list(lanes))
    return context
