"""Discovery: where peers might be. It only suggests addresses; what answers there proves itself in HELLO."""

from collections.abc import Callable

from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime.addresses import Address
from faramesh_mesh.runtime.config import Discovery

Suggest = Callable[[tuple[str, ...]], None]
"""Called in the trio thread with addresses in their canonical form, and again when they may have changed."""


async def discover(
    settings: Discovery, seeds: tuple[str, ...], mesh: MeshId, listening: Address, suggest: Suggest
) -> None:
    """Suggest addresses until cancelled: the seeds at once, then DNS, file and mDNS as they change.

    `listening` is this node's own advertised address: mDNS announces it, and it is never suggested. A source that fails is tried
    again later; it stops neither the others nor the node.
    """
    raise NotImplementedError
