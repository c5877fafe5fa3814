"""Discovery: where peers might be. It only suggests addresses; what answers there proves itself in HELLO.

Sources run side by side until they are cancelled. One that fails is tried again later and stops neither the
others nor the node: a mesh that is up needs no discovery.
"""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime.addresses import Address, AddressError, parse_address
from faramesh_mesh.runtime.config import Discovery

Suggest = Callable[[tuple[str, ...]], None]
"""Called in the trio thread with addresses in their canonical form, again when they may have changed."""

Complain = Callable[[str], None]
"""Called with what went wrong with a source, in words, once for each change of it: for the log."""

MAX_SUGGESTED = 256
"""Addresses that one source may suggest at once: a name with a thousand records must not crowd the passive view."""

FILE_SECONDS = 2.0
"""Between two looks at the file's time stamp."""
DNS_SECONDS = 30.0
"""Between two questions: a headless service changes its records within seconds, resolvers keep them for 5 to 30."""
MDNS_RETRY_SECONDS = 60.0
"""After multicast failed, which mostly means that there is no network."""
AGAIN_SECONDS = 600.0
"""What has not changed is suggested again after this long: the node forgets addresses that are dead for a day."""


async def discover(
    settings: Discovery,
    seeds: tuple[str, ...],
    mesh: MeshId,
    listening: Address,
    suggest: Suggest,
    complain: Complain,
) -> None:
    """Suggest addresses until cancelled: the seeds at once, then DNS, file and mDNS as they change.

    `listening` is this node's own advertised address: mDNS announces it, and it is never suggested.
    """
    own = str(listening)

    def suggest_others(addresses: tuple[str, ...]) -> None:
        others = tuple(address for address in dict.fromkeys(addresses) if address != own)[:MAX_SUGGESTED]
        if others:
            suggest(others)

    async with trio.open_nursery() as nursery:
        if seeds:
            nursery.start_soon(_seeds, seeds, suggest_others, complain)
        if settings.dns:
            names = _names(settings.dns, complain)
            nursery.start_soon(_watch, DNS_SECONDS, lambda: resolve(names), suggest_others, complain)
        if settings.file:
            path = Path(settings.file)
            nursery.start_soon(_watch, FILE_SECONDS, lambda: read_file(path), suggest_others, complain)
        if settings.mdns:
            nursery.start_soon(_mdns, mesh, listening, suggest_others, complain)


def _names(names: tuple[str, ...], complain: Complain) -> tuple[str, ...]:
    """Those that can be asked for. One that is misspelt is complained about and keeps nobody from the others."""
    good: list[str] = []
    for name in names:
        try:
            good.append(str(parse_address(name)))
        except AddressError as error:
            complain(str(error))
    return tuple(good)


async def resolve(names: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses behind DNS names, ascending. Raises `OSError`, or `UnicodeError` for a name that cannot
    be asked for, when none of them could be resolved."""
    found: set[str] = set()
    failure: OSError | UnicodeError | None = None
    for name in names:
        try:
            address = parse_address(name)
            answers = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failure = error
            continue
        found |= {str(Address(str(answer[4][0]), address.port)) for answer in answers}
    if failure is not None and not found:
        raise failure
    return tuple(sorted(found))


async def read_file(path: Path) -> tuple[str, ...]:
    """The addresses in a file, one a line; what follows a # is a comment. Raises `OSError`, `AddressError`."""
    text = await trio.Path(path).read_text(errors="replace")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(str(parse_address(line)) for line in lines if line)


async def _seeds(seeds: tuple[str, ...], suggest: Suggest, complain: Complain) -> None:
    async def parsed() -> tuple[str, ...]:
        return tuple(str(parse_address(seed)) for seed in seeds)

    await _watch(AGAIN_SECONDS, parsed, suggest, complain)


async def _watch(
    seconds: float, read: Callable[[], Awaitable[tuple[str, ...]]], suggest: Suggest, complain: Complain
) -> None:
    """Read a source again and again; suggest what it says when that changed, and from time to time."""
    before: tuple[str, ...] = ()
    trouble = ""
    suggested_at = trio.current_time()
    while True:
        try:
            addresses, wrong = await read(), ""
        except (OSError, AddressError, UnicodeError) as error:
            addresses, wrong = before, str(error)
        if wrong and wrong != trouble:
            complain(wrong)
        trouble = wrong
        if addresses != before or trio.current_time() >= suggested_at + AGAIN_SECONDS:
            suggest(addresses)
            before, suggested_at = addresses, trio.current_time()
        await trio.sleep(seconds)


async def _mdns(mesh: MeshId, listening: Address, suggest: Suggest, complain: Complain) -> None:
    from faramesh_mesh.runtime.multicast import announce_and_browse  # noqa: PLC0415 - late: zeroconf costs 7 MiB

    while True:
        complain(await announce_and_browse(mesh, listening, suggest))
        await trio.sleep(MDNS_RETRY_SECONDS)
