"""The life of a link: greeted, proven, judged by what is enrolled here, ended."""

from faramesh_mesh.gossip import handshake
from faramesh_mesh.gossip.config import MILLISECOND
from faramesh_mesh.gossip.effects import PeerDown, PeerUp
from faramesh_mesh.gossip.events import Connected
from faramesh_mesh.gossip.links import Link, Stage
from faramesh_mesh.gossip.messages import Hello
from faramesh_mesh.gossip.parts import Parts
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.gossip.timers import Alarm
from faramesh_mesh.records.labels import NO_REGION
from faramesh_mesh.records.rejection import Reason, Rejected

_REDIAL_WITHIN = (50 * MILLISECOND, 300 * MILLISECOND)
"""A lost link is replaced after a pause of this length: everybody who lost one at a cut must not dial at once."""


class Peering:
    """Opens, judges and ends links on behalf of all parts."""

    __slots__ = ("_parts", "_rng")

    def __init__(self, parts: Parts, rng: Rng) -> None:
        self._parts = parts
        self._rng = rng

    def connect(self, event: Connected, mono: int) -> None:
        """A connection is up: say HELLO, and expect one."""
        parts = self._parts
        link = parts.links.open(event, mono)
        if event.dialled is None and len(parts.links.all) > handshake.most_links(parts.config.cap):
            parts.links.close(link, "too many links")
            return
        half_open = sum(other.stage is Stage.GREETING for other in parts.links.all.values())
        if half_open > handshake.MAX_HALF_OPEN:
            parts.links.close(link, "too many half-open links")
            return
        hello = handshake.make_hello(
            link,
            parts.holdings.records.chain,
            parts.signer,
            parts.own.incarnation,
            parts.config.address,
            parts.members.own_enrolments,
        )
        parts.links.note(link, hello)

    def greet(self, link: Link, hello: Hello, mono: int) -> bool:
        """The peer's HELLO. True if it proves the peer and the link stays; its roots and enrolments are the
        caller's."""
        parts = self._parts
        mesh = parts.holdings.records.chain.mesh
        node = handshake.check(hello, link, parts.signer.id, mesh, parts.verify)
        if isinstance(node, Rejected):
            parts.links.refuse(link, node, mono)
            if node.reason is Reason.UNEXPECTED and link.dialled is not None:
                parts.overlay.is_self(link.dialled)
            parts.links.close(link, node.reason.value)
            return False
        if parts.links.is_shunned(node, mono):
            parts.links.close(link, "shunned")
            return False
        link.node, link.address = node, hello.address
        link.incarnation, link.root_version = hello.incarnation, hello.root_version
        loser = handshake.surplus(link, parts.links.of_node(node), parts.signer.id, mono)
        if loser is not None:
            parts.links.close(loser, "another link to the node")
        if loser is link:
            parts.overlay.on_known(link)  # not for long, but it is known now who answers there
        return loser is not link

    def establish(self, link: Link, mono: int) -> None:
        """The peer is proven: control records flow both ways, and if it belongs here everything else does."""
        parts = self._parts
        assert link.node is not None  # noqa: S101 - what "proven" means
        link.stage = Stage.LIMITED
        parts.links.effects.append(PeerUp(link.id, link.node, link.address))
        parts.overlay.on_known(link)
        parts.flood.on_up(link, mono)
        if link.dialled is not None:
            parts.ping(link, mono)
        self._judge_link(link, mono)
        limited = sum(each.stage is Stage.LIMITED for each in parts.links.all.values())
        if link.stage is Stage.LIMITED and limited > handshake.MAX_LIMITED:
            parts.links.close(link, "too many links of nodes that are not enrolled here")

    def judge(self, mono: int) -> None:
        """Records came in: some links are those of members now, some of members no more."""
        parts = self._parts
        for link in list(parts.links.all.values()):
            if link.stage is Stage.LIMITED or (parts.judge and link.stage is Stage.FULL):
                self._judge_link(link, mono)
        if parts.judge:
            parts.judge = False
            parts.statuses.retain_members()
            parts.liveness.retain_members()
            parts.timers.sooner(Alarm.REDIAL, mono + self._rng.uniform(*_REDIAL_WITHIN))
            parts.own.due_soon(mono, parts.cadence())

    def _judge_link(self, link: Link, mono: int) -> None:
        parts = self._parts
        assert link.node is not None  # noqa: S101 - only proven links are judged
        region = parts.members.region(link.node)
        link.region = region or NO_REGION
        belongs = not link.lapsed and region is not None
        if link.stage is Stage.FULL and not belongs:
            parts.links.close(link, "enrolled no more")
        elif link.stage is Stage.LIMITED and belongs and not link.leaving:
            link.stage = Stage.FULL
            parts.links.full[link.id] = link
            parts.overlay.on_up(link)
            parts.liveness.on_up(link)
            parts.statuses.on_up(link)
            parts.bodies.on_up(mono)
            if link.dialled is not None:
                parts.ping(link, mono)

    def bury(self, mono: int) -> None:
        """Tell the parts of links that have ended."""
        parts = self._parts
        ended, parts.links.ended = parts.links.ended, []
        for link, why, lost in ended:
            parts.intake.drop(link)
            parts.reconcile.on_down(link)
            parts.statuses.on_down(link)
            parts.bodies.on_down(link)
            parts.overlay.on_down(link, mono, lost=lost)
            parts.liveness.on_down(link, mono, lost=lost)
            parts.timers.sooner(Alarm.REDIAL, mono + self._rng.uniform(*_REDIAL_WITHIN))
            if link.node is not None and link.is_known:
                parts.links.effects.append(PeerDown(link.id, link.node, why))
