"""What a link sends next, by class: the order in which this function asks is the priority of everything."""

from faramesh_mesh.gossip.links import Link
from faramesh_mesh.gossip.parts import Parts
from faramesh_mesh.gossip.wire import write


def next_frame(link: Link, parts: Parts) -> bytes | None:
    """The next frame, with its prefix; None when there is nothing to send."""
    frame = None
    if link.urgent or link.roots:
        frame = parts.flood.urgent_frame(link)
    if frame is None and link.notes:
        frame = write(link.notes.pop(next(iter(link.notes))))
    if frame is None and link.records:
        frame = parts.flood.record_frame(link)
    if frame is None and link.page is not None:
        frame = parts.reconcile.page_frame(link)
    if frame is None and link.talk:
        frame = write(link.talk.pop(next(iter(link.talk))))
    if frame is None and link.slots:
        frame = parts.statuses.status_frame(link)
    if frame is None and link.errands:
        frame = write(link.errands.pop(next(iter(link.errands))))
    if frame is None and link.chunks:
        frame = parts.bodies.chunk_frame(link)
    return frame
