"""TLS 1.3 on the one port of a node: who is asked for a certificate, by which authorities, on which lane."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path

from faramesh_mesh.records.ids import KeyId, MeshId


@unique
class Lane(StrEnum):
    """What a connection is for: its ALPN protocol name."""

    GOSSIP = "fmesh-gossip/1"
    ENROL = "fmesh-enrol/1"
    CONTROL = "fmesh-control/1"


class LaneError(Exception):
    """The handshake succeeded but the connection cannot be used for what it asked. Close it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The two ends of an encrypted connection. `ours` and `theirs` are SHA-256 of the certificates in DER, 32 zero bytes for
    an end that showed none. `node` is whom the other end's certificate names, None unless a known authority issued it."""

    lane: Lane
    ours: bytes
    theirs: bytes
    node: KeyId | None
    lapsed: bool


def server_context(link: Path, authorities: Iterable[bytes]) -> ssl.SSLContext:
    """For the listener: all lanes, client certificates optional but never unknown ones."""
    raise NotImplementedError


def gossip_context(link: Path, authorities: Iterable[bytes]) -> ssl.SSLContext:
    """For dialling the gossip lane: shows our certificate, wants one by a known authority."""
    raise NotImplementedError


def open_context(lane: Lane) -> ssl.SSLContext:
    """For dialling the control or enrol lane: no certificate is shown or verified; identity is proven above TLS."""
    raise NotImplementedError


def add_authorities(context: ssl.SSLContext, authorities: Iterable[bytes]) -> None:
    """Trust more authorities (DER) from the next handshake on."""
    raise NotImplementedError


def peer_of(tls: ssl.SSLObject, mesh: MeshId, ours: bytes, wall_ms: int) -> Peer:
    """What an established connection is, after its handshake. Raises `LaneError`: no common lane, or the gossip lane without a
    certificate that names a node of this mesh."""
    raise NotImplementedError
