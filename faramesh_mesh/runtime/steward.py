"""The steward: what a running node needs beside its protocol, once a second or when something changed."""

from typing import Protocol

import trio

from faramesh_mesh.gossip.node import Node
from faramesh_mesh.host import audit
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.runtime.clock import Clock
from faramesh_mesh.runtime.credentials import UNUSABLE
from faramesh_mesh.runtime.enforcement import Enforcer
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.restore import CLEAN, INCARNATION, LOST, Restored, encode_incarnation
from faramesh_mesh.runtime.storage import Storage
from faramesh_mesh.trust.chain import RootChain

TURN_SECONDS = 1.0
"""Between renewals of the gate's deadline (`enforcement.DEADLINE_NS`)."""
COUNTS_EVERY = 2
STATUSES_EVERY = 60
"""In turns: how often counts are handed to the node, which reports them at its own pace, and how often the statuses of
others, and with them their addresses, are kept for the next start."""


class Follower(Protocol):
    """Who must know the newest roots (`credentials.Credentials`)."""

    def follow(self, chain: RootChain) -> None:
        """The chain as it is now. Raises one of `credentials.UNUSABLE`; the next call tries again."""


class Steward:
    """Looks after one node: readiness after damage, the audit log, the gate's deadline, what to keep for the
    next start."""

    def __init__(
        self,
        node: Node,
        restored: Restored,
        storage: Storage,
        enforcer: Enforcer,
        credentials: Follower,
        log: Log,
        clock: Clock,
    ) -> None:
        self._node = node
        self._storage = storage
        self._enforcer = enforcer
        self._credentials = credentials
        self._log = log
        self._clock = clock
        self._head = restored.audit_head
        self._incarnation = restored.incarnation
        self._lost = restored.lost
        self._synced = False
        self._was_ready = False
        self._kept: dict[KeyId, bytes] = {}

    def is_ready(self) -> bool:
        """The node's own word; but after records were lost a mesh that looks like one of one is not believed."""
        return self._node.ready and not (self._lost and not self._node.peers())

    def enter(self, notes: tuple[audit.Note, ...]) -> None:
        """Enter notes in the audit log."""
        if not notes:
            return
        entries: list[bytes] = []
        for note in notes:
            entry, self._head = audit.append(self._head, note, self._clock.wall_ms())
            entries.append(entry)
        self._storage.keep(audit=tuple(entries))

    def enter_event(self, event: audit.Event, text: str = "") -> None:
        """Enter something that concerns the node as a whole."""
        self.enter((audit.Note(event, "", None, text),))

    def changed(self) -> None:
        """What the node holds changed: first of all the gate hears of it."""
        self._enforcer.refresh()
        self._follow_roots()
        if not self._was_ready and self.is_ready():
            self._was_ready = True
            self._log.info("ready", records=len(self._node.records))
            self.enter_event(audit.Event.READY, f"{len(self._node.records)} records")

    def _follow_roots(self) -> None:
        """Never in the way of the gate: what the links trust waits for the disk, what an agent may do does not."""
        try:
            self._credentials.follow(self._node.records.chain)
        except UNUSABLE as error:
            effect = "links still trust the authorities of an older root; tried again each second"
            self._log.limited("follow", "link credentials not reloaded", why=str(error), effect=effect)

    async def run(self) -> None:
        """Keep the gate alive, and look after the rest, until cancelled."""
        turn = 0
        while True:
            await trio.sleep(TURN_SECONDS)
            turn += 1
            self.changed()
            self._enforcer.tell()
            self._keep_incarnation()
            if turn % COUNTS_EVERY == 0:
                self._enforcer.report_counts()
            if turn % STATUSES_EVERY == 0:
                self.keep_statuses()
            if not self._synced and self.is_ready():
                self._note_synced()

    def _note_synced(self) -> None:
        """What was lost has come back: the next start need not wait for it again."""
        self._synced = True
        if self._lost:
            self._lost = False
            self._storage.keep(meta=((LOST, b"0"),), synced=True)
            self._log.info("synced after damage")

    def _keep_incarnation(self) -> None:
        """Peers may have known a later life of this node than its disk did: the next start must begin after that."""
        if self._node.incarnation != self._incarnation:
            self._incarnation = self._node.incarnation
            self._storage.keep(meta=((INCARNATION, encode_incarnation(self._incarnation)),))

    def keep_statuses(self) -> None:
        """Keep what others last said, for their addresses."""
        fresh = {live.node: live.envelope for live in self._node.statuses.all()}
        news = tuple((node, data) for node, data in fresh.items() if self._kept.get(node) != data)
        self._kept = fresh
        if news:
            self._storage.keep(statuses=news)

    def close(self) -> None:
        """The node ends in order: its next start need not suspect the policy that was on trial."""
        self.keep_statuses()
        self.enter_event(audit.Event.STOPPED)
        self._storage.keep(meta=((CLEAN, b"1"),))
