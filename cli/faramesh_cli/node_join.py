"""`node join`: enrol this machine with a token, and leave a home that `node run` can start from.

The first machine of a mesh, with a token that carries the enrol key, signs its own enrolment, because there
is nobody to ask. Every other one asks a node with that duty over the enrol lane; a node without it says who
has.
"""

import os
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

import trio

from faramesh_cli import homes
from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Answer, now_ms
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.troubles import trouble
from faramesh_mesh.records.enrolment import Duty, Enrolment
from faramesh_mesh.records.ids import fingerprint
from faramesh_mesh.records.labels import MAX_AGENT
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.selector import LABEL_VALUE
from faramesh_mesh.runtime.addresses import Address, parse_address
from faramesh_mesh.runtime.certificates import link_pem
from faramesh_mesh.runtime.config import ConfigError, Discovery, NodeHomeConfig, format_config, parse_config
from faramesh_mesh.runtime.control.transport import cause_of
from faramesh_mesh.runtime.egress import open_way
from faramesh_mesh.runtime.enrol import Applicant, Binding, EnrolError, Joined, enrol_first, join
from faramesh_mesh.runtime.enrol_wire import Refusal as Refused
from faramesh_mesh.runtime.files import TooOpenError
from faramesh_mesh.runtime.home import Home, HomeError
from faramesh_mesh.runtime.journal_row import first_journal
from faramesh_mesh.runtime.links import TlsStream, taken_from
from faramesh_mesh.runtime.store import Authored, Batch, Store, StoreError
from faramesh_mesh.runtime.tls import NO_CERTIFICATE, Lane, LaneError, open_context, peer_of
from faramesh_mesh.runtime.token import Token, TokenError, parse_token
from faramesh_mesh.trust.keys import Signer, signer_from_seed, verify

CONNECT_SECONDS = 10.0
MAX_HOPS = 8
"""Addresses tried, the ones that nodes refer to included."""
SYNCING_SECONDS = 15.0
"""How long nodes that were just started are waited for: a mesh of one listens for two seconds, a restart
among others takes one or two."""
AGAIN_SECONDS = 1.0
_MAX_TOKEN = 4_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed."""

    token: str
    seeds: tuple[str, ...]
    agent: str | None
    listen: str
    advertise: str
    proxy: str
    mdns: bool


@dataclass(frozen=True, slots=True)
class Keys:
    """The new keys of this machine: the node's own, and that of its links."""

    node: bytes
    link: bytes

    @property
    def signer(self) -> Signer:
        """The node's key."""
        return signer_from_seed(self.node)


def join_mesh(shell: Shell, wanted: Wanted) -> Answer:
    """Join the mesh that the token is for."""
    path = homes.node_path(shell)
    home = Home(path)
    if home.is_joined:
        raise Refusal(
            f"{path} belongs to a mesh already",
            unchanged="that home",
            todo="start it with faramesh-mesh node run, or join in another --home DIR",
        )
    try:
        token = parse_token(sys.stdin.read(_MAX_TOKEN) if wanted.token == "-" else wanted.token)  # noqa: S105 - stdin
    except TokenError as error:
        raise Refusal(
            str(error),
            unchanged="nothing was written",
            todo="paste the whole line that enrol token printed, or - to read it from standard input",
            exit_code=ExitCode.USAGE,
        ) from None
    config = _config(wanted, token)
    keys = _keys(home)
    try:
        joined = _enrolled(shell, token, config, keys)
    except (EnrolError, TokenError) as error:
        denied = isinstance(error, EnrolError) and error.refusal is not None
        raise Refusal(
            str(error),
            unchanged="nothing but an unused key was written"
            + ("" if denied else "; the same token may be tried again"),
            todo="do what the node says, then join again; faramesh-mesh enrol token makes another token"
            if denied
            else "see that a node runs there, or name another one with --seed HOST:PORT",
            exit_code=ExitCode.NOT_AUTHORISED if denied else ExitCode.ERROR,
        ) from None
    try:
        _write(home, token, config, keys, joined)
    except (HomeError, TooOpenError, StoreError, OSError) as error:
        raise trouble(error, "this home belongs to no mesh yet; the same token may be tried again") from None
    return _answer(path, joined, config)


def _config(wanted: Wanted, token: Token) -> NodeHomeConfig:
    agent = wanted.agent or socket.gethostname().partition(".")[0]
    if len(agent) > MAX_AGENT or LABEL_VALUE.fullmatch(agent) is None:
        raise misused(f"{agent!r} cannot name an agent", "choose a name with --agent")
    seeds = tuple(dict.fromkeys((*wanted.seeds, *token.seeds)))
    duties = (Duty.ENROL,) if _is_first(token, seeds) else ()
    config = NodeHomeConfig(
        agent=agent,
        listen=wanted.listen,
        advertise=wanted.advertise,
        seeds=seeds,
        proxy=wanted.proxy,
        discovery=Discovery(mdns=wanted.mdns),
        duties=duties,
    )
    try:
        config = parse_config(format_config(config))
    except ConfigError as error:
        raise misused(
            f"--{str(error).removeprefix('config.toml: ')}", "write addresses like m1:7420 or 10.0.0.7:7420"
        ) from None
    _check_here(parse_address(config.listen), wanted.listen)
    return config


def _check_here(listen: Address, typed: str) -> None:
    """Refuse to listen where this machine has no address: `node run` could only fail. Binds a free port and lets go."""
    try:
        found = socket.getaddrinfo(listen.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(where)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a name"
        raise misused(
            f"--listen {typed}: {listen.host} is no address of this machine ({why})",
            "leave it out to listen on all of them (0.0.0.0:7420), or name one, like 10.0.0.7:7420; "
            "what others dial is --advertise",
        ) from None


def _is_first(token: Token, seeds: tuple[str, ...]) -> bool:
    """Whether this machine is the first: it holds the enrol key and knows nobody to ask."""
    return token.enrol_seed is not None and not seeds


def _keys(home: Home) -> Keys:
    """The node's key, made before it is used and kept if joining fails, so that a retry is the same node."""
    try:
        home.create()
        try:
            node = home.read_seed()
        except HomeError:
            node = os.urandom(32)
            home.write_seed(node)
    except (HomeError, TooOpenError, OSError) as error:
        raise trouble(error, "nothing was sent; --home DIR names another place") from None
    return Keys(node, os.urandom(32))


def _enrolled(shell: Shell, token: Token, config: NodeHomeConfig, keys: Keys) -> Joined:
    applicant = Applicant(config.agent, keys.signer, signer_from_seed(keys.link).public)
    if _is_first(token, config.seeds):
        return enrol_first(token, applicant, now_ms(), verify)
    if not config.seeds:
        raise Refusal(
            "no node to ask: the token carries no address",
            unchanged="nothing was sent",
            todo="name a node that runs with --seed HOST:PORT",
        )
    return trio.run(_ask_around, shell, token, config, applicant)


async def _ask_around(shell: Shell, token: Token, config: NodeHomeConfig, applicant: Applicant) -> Joined:
    """Ask for enrolment until somebody gives it. A node that was started a moment ago has to sync first, and
    is asked again."""
    until = trio.current_time() + SYNCING_SECONDS
    while True:
        try:
            return await _ask_each(shell, token, config, applicant)
        except EnrolError as error:
            if error.refusal is not Refused.NOT_READY or trio.current_time() >= until:
                raise
        shell.terminal.progress("  it is asked again")
        await trio.sleep(AGAIN_SECONDS)


async def _ask_each(shell: Shell, token: Token, config: NodeHomeConfig, applicant: Applicant) -> Joined:
    """Ask the seeds one after the other, and whom they refer to."""
    waiting, asked = list(config.seeds), set[str]()
    trouble = EnrolError("no node was asked")
    while waiting and len(asked) < MAX_HOPS:
        address = waiting.pop(0)
        if address in asked:
            continue
        asked.add(address)
        shell.terminal.progress(f"asking {address} to enrol {config.agent}…")
        try:
            return await _ask(address, token, config, applicant)
        except EnrolError as error:
            trouble = EnrolError(f"{address}: {error}", error.refusal, error.elsewhere)
            if error.refusal not in {None, Refused.NOT_READY} and not error.elsewhere:
                raise trouble from None
            waiting = [*error.elsewhere, *waiting]
            shell.terminal.progress(f"  {error}")
    raise trouble


async def _ask(address: str, token: Token, config: NodeHomeConfig, applicant: Applicant) -> Joined:
    stream: TlsStream | None = None
    try:
        with trio.fail_after(CONNECT_SECONDS):
            sock = taken_from(await open_way(address, config.proxy))
            stream = TlsStream(sock, open_context(Lane.ENROL), server_side=False)
            await stream.do_handshake()
            peer = peer_of(stream.tls, token.mesh, NO_CERTIFICATE, now_ms())
        binding = Binding(peer.ours, peer.theirs)
        return await join(stream, binding, token, applicant, os.urandom(32), verify)
    except trio.TooSlowError:
        raise EnrolError(f"no connection within {CONNECT_SECONDS:g} s: is the node running?") from None
    except (OSError, ValueError, ssl.SSLError, LaneError, trio.BrokenResourceError) as error:
        raise EnrolError(f"no connection ({cause_of(error)}): is the node running?") from None
    finally:
        if stream is not None:
            stream.close()


def _write(home: Home, token: Token, config: NodeHomeConfig, keys: Keys, joined: Joined) -> None:
    """Leave the home as `node run` expects it; the pin comes last, so a half-made home is none."""
    record = joined.enrolment
    home.write_link(link_pem(keys.link, joined.certificate))
    peers = tuple(dict.fromkeys((*config.seeds, *joined.peers)))
    home.write_config(
        NodeHomeConfig(
            config.agent,
            config.listen,
            config.advertise,
            peers[:16],
            config.proxy,
            config.discovery,
            config.duties,
        )
    )
    first = Duty.ENROL in config.duties
    if first and token.enrol_seed is not None:
        home.write_enrol_seed(token.enrol_seed)
    store = Store.open(home.database)
    try:
        authored = (Authored(record.key, record.envelope),) if first else ()
        store.commit(
            Batch(
                roots=joined.chain.envelopes,
                records=((record.id, record.envelope),),
                journal=first_journal(store),
                authored=authored,
            )
        )
    finally:
        store.close()
    home.write_pin(token.mesh)


def _answer(path: Path, joined: Joined, config: NodeHomeConfig) -> Answer:
    record: Record = joined.enrolment
    assert isinstance(record.payload, Enrolment)  # noqa: S101 - `join` checked it
    labels = dict(record.payload.labels)
    mesh = joined.chain.mesh
    told = ", ".join(f"{key}={value}" for key, value in labels.items()) or "no labels"
    lines = [
        f"enrolled {config.agent} ({told}) in mesh {joined.chain.current.name}, fingerprint {fingerprint(mesh)}",
        f"  home {homes.tilde(path)}, listens on {config.listen}"
        + (", enrols others" if Duty.ENROL in config.duties else ""),
    ]
    return Answer(
        "node-join",
        {
            "mesh": mesh.hex(),
            "fingerprint": fingerprint(mesh),
            "agent": config.agent,
            "node": record.payload.node_id.hex(),
            "labels": labels,
            "line": record.payload.line,
            "duties": [duty.value for duty in config.duties],
            "home": str(path),
            "listen": config.listen,
            "seeds": list(config.seeds),
        },
        lines,
        todo="faramesh-mesh node run" + ("" if path == homes.base() / homes.NODE else f" --home {path}"),
    )
