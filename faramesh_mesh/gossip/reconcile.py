"""Anti-entropy of the control set: two nodes find what either lacks, at a cost that grows with the difference.

Range-based set reconciliation (Meyer, "Range-Based Set Reconciliation", SRDS 2023, arXiv:2212.13567) over the fixed
16-ary trie of `state.trie`, see the diagram at `messages.Step`. Each step names the branches in which the two differ, one
level deeper than the step that it answers; where few ids are left it names the ids. Nothing is remembered between
steps but that an exchange is under way: what does not fit a frame is left for the next one.

The dialler of a link starts, so that the two ends do not do the same work twice. A node that is far behind does not
search: it asks for everything beyond its frontier, in the other's order of admission (`messages.Pull`), from one
peer at a time, page by page, each asked for when the one before has been verified.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.events import LinkId
from faramesh_mesh.gossip.links import Link, Links
from faramesh_mesh.gossip.messages import Page, Pull, Step
from faramesh_mesh.gossip.wire import ROOM, page
from faramesh_mesh.records.ids import ID_SIZE, RecordId
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.state.trie import DEPTH, Branch, Prefix, prefix_of

Push = Callable[[Link, Iterable[RecordId], int], None]
"""Marks records as wanted by a link's peer."""

FEW = 32
"""Ids below both ends' branch at which they are named instead of going deeper: a KiB, against another round trip."""
_STEP_ROOM = 54_000
_BRANCH_COST, _LEAF_COST = 340, 16
"""Bytes of one STEP, and what a branch and the frame of a leaf take of them; an id takes its size."""
_RECORD_COST = 1_024
"""Bytes allowed for a record that was asked for: most are a third of it, and few come in a frame of their own."""
_PAGES = 4
"""Frames that one PULL asks for: 256 KiB in flight fill a 100 ms path at 2.5 MB/s, more than is verified in a second."""
_SCANNED = 4_096
"""Records looked at for one page: skipping what the asker holds must not stall the loop."""
_PATIENCE = 4 * SECOND
"""For the next step or page. After that the exchange is given up; the next PING starts another."""
_ASKED_FOR = 2 * SECOND
"""A record asked of one peer is not asked of another for so long."""
_ASK_AGAIN = 20 * SECOND
"""A record that a peer named and did not bring is not asked of it again for so long, so that meanwhile the others are asked.
Shorter, and a few hostile peers that name what they withhold keep a node from asking anybody else."""
_MOST_LACKING = 4_096
"""Records asked of one peer that have not come: four steps full of names. A hostile one names what does not exist."""
_PULL_FOR, _PULL_BRINGS = 15 * SECOND, 100
"""In so long a pull must bring so many records, or another peer is asked: one that sends pages with nothing in them would
else be the only one. An honest one brings that many in a tenth of a second."""
_SLOWEST = 60 * SECOND
"""Pause between exchanges that change nothing: two nodes that admit different things (a newer root on its way, a
hostile peer) must not talk about it every second."""


@dataclass(slots=True)
class _Session:
    """The reconciliation with one peer."""

    until: int = 0
    """The exchange under way is given up at this time; 0 when there is none."""
    lacking: dict[RecordId, int] = field(default_factory=dict)
    """The records that were asked of the peer and have not come, and when."""
    cut_short: bool = False
    """Not all that differs fitted the steps of the exchange under way: another follows at once."""
    turn: int | None = None
    """Where the next PULL starts, once what came is verified."""
    fruitless: int = 0
    not_before: int = 0
    last_seen: tuple[bytes, bytes] = (b"", b"")
    pull_since: int = 0
    pull_held: int = 0
    """When the pull under way was looked at last, and how many records were held then."""


class Reconcile:
    """Anti-entropy over all links."""

    __slots__ = ("_asked", "_links", "_paging", "_pulling", "_push", "_records", "_sessions")

    def __init__(self, links: Links, records: RecordSet, push: Push) -> None:
        self._links = links
        self._records = records
        self._push = push
        self._sessions: dict[LinkId, _Session] = {}
        self._asked: dict[RecordId, int] = {}
        self._pulling: LinkId | None = None
        self._paging: dict[LinkId, int] = {}

    def compare(self, link: Link, count: int, fingerprint: bytes, mono: int) -> bool:
        """The peer says what it holds. True if it is what is held here; else an exchange starts where it is due."""
        trie = self._records.trie
        ours = trie.fingerprint
        session = self._sessions.get(link.id)
        if fingerprint == ours:
            if session is not None and not session.until:
                del self._sessions[link.id]
            return True
        if session is None:
            session = self._sessions[link.id] = _Session()
        if mono < session.until or mono < session.not_before:
            return False
        if _is_far_behind(trie.count, count):
            self._begin_pull(link, session, mono)
        elif link.dialled is not None and not _is_far_behind(count, trie.count):
            self._pace(session, (ours, fingerprint), mono)
            step = self._answer_branch((), Branch(fingerprint, count))
            session.until = mono + _PATIENCE
            self._links.note(link, step)
        return False

    def _pace(self, session: _Session, seen: tuple[bytes, bytes], mono: int) -> None:
        """Slow down while exchanges change neither side."""
        session.fruitless = session.fruitless + 1 if session.last_seen == seen else 0
        session.last_seen = seen
        if session.fruitless > 1:
            session.not_before = mono + min(_SLOWEST, SECOND << min(session.fruitless, 6))

    # Steps

    def on_step(self, link: Link, step: Step, mono: int) -> bool:
        """The peer's next step. Whether the exchange has ended and another is due."""
        session = self._sessions.setdefault(link.id, _Session())
        if step.is_empty:
            session.until = 0
            return self._is_cut_short(session)
        answer = self._descend(link, session, step, mono)
        self._push(link, step.wants, mono)
        for record_id in answer.wants:
            session.lacking[record_id] = mono
            self._asked[record_id] = mono
        link.bytes_left.grant(_RECORD_COST * len(answer.wants))
        session.until = 0 if answer.is_empty else mono + _PATIENCE
        self._links.note(link, answer)
        return answer.is_empty and self._is_cut_short(session)

    def _is_cut_short(self, session: _Session) -> bool:
        cut_short, session.cut_short = session.cut_short, False
        return cut_short

    def _descend(self, link: Link, session: _Session, step: Step, mono: int) -> Step:
        """The step one level deeper. What only this side has below a branch goes to the peer at once."""
        trie = self._records.trie
        branches: list[tuple[Prefix, tuple[Branch, ...]]] = []
        leaves: list[tuple[Prefix, tuple[RecordId, ...]]] = []
        room = _STEP_ROOM
        for below, here, there in self._differing(step):
            is_leaf = len(below) == DEPTH or here.count + there.count <= FEW
            cost = _LEAF_COST + ID_SIZE * here.count if is_leaf else _BRANCH_COST
            if there.count == 0:
                self._push(link, trie.ids(below), mono)
            elif cost > room:
                session.cut_short = True
            elif is_leaf:
                room -= cost
                leaves.append((below, trie.ids(below)))
            else:
                room -= cost
                branches.append((below, trie.children(below)))
        wants: list[RecordId] = []
        for prefix, ids in step.leaves:
            self._meet_leaf(link, session, prefix, ids, wants, mono)
        del wants[max(_MOST_LACKING - len(session.lacking), 0) :]
        if len(wants) > room // ID_SIZE:
            session.cut_short = True
            del wants[room // ID_SIZE :]
        return Step(tuple(branches), tuple(leaves), tuple(wants))

    def _differing(self, step: Step) -> Iterator[tuple[Prefix, Branch, Branch]]:
        """The branches, one level below those of a step, in which the two ends differ: here and there."""
        for prefix, theirs in step.branches:
            ours = self._records.trie.children(prefix)
            for nibble, (here, there) in enumerate(zip(ours, theirs, strict=True)):
                if here != there:
                    yield (*prefix, nibble), here, there

    def _answer_branch(self, prefix: Prefix, theirs: Branch) -> Step:
        trie = self._records.trie
        if trie.count + theirs.count <= FEW:
            return Step(leaves=((prefix, trie.ids(prefix)),))
        return Step(branches=((prefix, trie.children(prefix)),))

    def _meet_leaf(
        self,
        link: Link,
        session: _Session,
        prefix: Prefix,
        theirs: tuple[RecordId, ...],
        wants: list[RecordId],
        mono: int,
    ) -> None:
        there = dict.fromkeys(theirs)
        self._push(link, [each for each in self._records.trie.ids(prefix) if each not in there], mono)
        for record_id in theirs:
            if record_id in self._records or prefix_of(record_id)[: len(prefix)] != prefix:
                continue
            owed_since = session.lacking.get(record_id)
            if owed_since is not None and mono - owed_since < _ASK_AGAIN:
                continue
            if mono - self._asked.get(record_id, -_ASKED_FOR) >= _ASKED_FOR:
                wants.append(record_id)

    def arrived(self, record_id: RecordId) -> list[Link]:
        """A record was admitted. The links on which it was the last one awaited: compare again there."""
        if self._asked.pop(record_id, None) is None:
            return []
        done: list[Link] = []
        for link_id, session in self._sessions.items():
            if session.lacking.pop(record_id, 0) is None and not session.lacking:
                link = self._links.all.get(link_id)
                if link is not None:
                    done.append(link)
        return done

    # Pulling

    def _begin_pull(self, link: Link, session: _Session, mono: int) -> None:
        if self._pulling is not None:
            return
        self._pulling = link.id
        session.pull_since, session.pull_held = mono, self._records.trie.count
        self._pull(link, session, 0, mono)

    def _pull(self, link: Link, session: _Session, start: int, mono: int) -> None:
        session.until = mono + _PATIENCE
        session.turn = None
        link.bytes_left.grant(_PAGES * (ROOM + 64))
        self._links.note(link, Pull(start, tuple(self._records.frontier.items())))

    def is_pulling(self, link: Link) -> bool:
        """Whether pages were asked of this peer."""
        return self._pulling == link.id

    def on_page(self, link: Link, came: Page, mono: int) -> bool:
        """A page came, and its records are being verified. Whether the stream has ended: compare again."""
        session = self._sessions.setdefault(link.id, _Session())
        session.until = mono + _PATIENCE
        if came.last:
            self._pulling = None
            session.until = 0
            return True
        if came.turn:
            session.turn = came.following
        return False

    def drained(self, link: Link, mono: int) -> None:
        """All that came on a link is verified: ask for more, if there is more."""
        session = self._sessions.get(link.id)
        if session is not None and session.turn is not None:
            self._pull(link, session, session.turn, mono)

    def on_pull(self, link: Link, pull: Pull) -> None:
        """The peer asks for pages."""
        link.page = pull
        self._paging[link.id] = _PAGES
        self._links.touch(link)

    def page_frame(self, link: Link) -> bytes | None:
        """The next page for the peer."""
        pull = link.page
        if pull is None:
            return None
        frontier = dict(pull.frontier)
        chain = self._records.chain
        items: list[bytes] = []
        room, following, last = ROOM, pull.start, True
        for scanned, record in enumerate(self._records.in_order(pull.start)):
            index = chain.index(record.key)
            beyond = index is None or record.head.seq > frontier.get(index, 0)
            if scanned == _SCANNED or (beyond and len(record.envelope) > room):
                last = False
                break
            following = (self._records.order_of(record.id) or 0) + 1
            if beyond:
                room -= len(record.envelope)
                items.append(record.envelope)
                link.records.pop(record.id, None)
        left = self._paging.get(link.id, 1) - 1
        self._paging[link.id] = left
        turn = left <= 0 and not last
        link.page = None if last or turn else Pull(following, pull.frontier)
        return page(following, items, last=last, turn=turn)

    # Upkeep

    def on_down(self, link: Link) -> None:
        """A link has ended."""
        self._sessions.pop(link.id, None)
        self._paging.pop(link.id, None)
        if self._pulling == link.id:
            self._pulling = None

    def beat(self, mono: int) -> None:
        """Give up what does not go on."""
        for link_id, session in self._sessions.items():
            if session.until and session.until <= mono:
                session.until = 0
                session.turn = None
                for record_id in session.lacking:
                    self._asked.pop(record_id, None)
                session.lacking.clear()
                if self._pulling == link_id:
                    self._pulling = None
                    session.not_before = mono + _PATIENCE
            elif self._pulling == link_id and mono - session.pull_since >= _PULL_FOR:
                held = self._records.trie.count
                if held - session.pull_held < _PULL_BRINGS:
                    self._pulling, session.turn, session.until = None, None, 0
                    session.not_before = mono + _SLOWEST
                session.pull_since, session.pull_held = mono, held
        if self._asked and not any(session.lacking for session in self._sessions.values()):
            self._asked.clear()


def _is_far_behind(here: int, there: int) -> bool:
    """Whether a stream of everything beyond the frontier is cheaper than a search."""
    return there - here > 2 * FEW + here // 16
