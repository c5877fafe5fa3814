"""Hypothesis strategies for everything that is signed. Used by the tests of other floors too."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from faramesh_mesh.records.chain import MAX_SEEN, MAX_SEQ, NO_EXTRA, Extra, Head
from faramesh_mesh.records.codec import UINT_MAX
from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.enrolment import Duty, Enrolment
from faramesh_mesh.records.halt import MAX_REASON, Abort, Hold, Release
from faramesh_mesh.records.ids import NO_RECORD, Digest, KeyId, MeshId, RecordId
from faramesh_mesh.records.kill import MAX_KILL_SELECTOR, MAX_SEEN_OF_KILL, MAX_TOOL, MAX_TOOLS, Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.labels import Labels
from faramesh_mesh.records.policy import MAX_BODY, Policy
from faramesh_mesh.records.record import Control
from faramesh_mesh.records.revocation import Revocation, RevokedAgent, RevokedKey
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort, Rollout
from faramesh_mesh.records.root import Cut, RoleKey, Root
from faramesh_mesh.records.roster import Entry, Roster
from faramesh_mesh.records.selector import INSTANCE, Selector, parse
from faramesh_mesh.records.status import AgentReport, Standing, Status
from faramesh_mesh.records.vote import Vote

_FIRST = string.ascii_letters + string.digits
_MORE = _FIRST + "._:/@-"

uints = st.integers(0, UINT_MAX)
seqs = st.integers(1, MAX_SEQ)
record_ids = st.binary(min_size=32, max_size=32).filter(lambda value: value != NO_RECORD).map(RecordId)
digests = st.binary(min_size=32, max_size=32).map(Digest)
mesh_ids = st.binary(min_size=32, max_size=32).map(MeshId)
key_ids = st.binary(min_size=16, max_size=16).map(KeyId)
keys = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)


def texts(most: int, least: int = 1) -> st.SearchStrategy[str]:
    """Texts of so many UTF-8 bytes, some of several bytes a character."""
    return st.text("aZ0 .,*|ßж中🙂\"'\\", min_size=least, max_size=most // 4)


def names(most: int = 128) -> st.SearchStrategy[str]:
    """Names of agents, lines, values of labels."""
    rest = st.text(_MORE, max_size=min(most - 1, 20))
    return st.builds(str.__add__, st.sampled_from(_FIRST), rest)


label_keys = st.builds(str.__add__, st.sampled_from(_FIRST), st.text(_FIRST + "._/-", max_size=12))


def ascending(
    elements: st.SearchStrategy[bytes], most: int, least: int = 0
) -> st.SearchStrategy[tuple[bytes, ...]]:
    """Sets as they are on the wire."""
    return st.sets(elements, min_size=least, max_size=min(most, 6)).map(lambda found: tuple(sorted(found)))


def ids(most: int, least: int = 0) -> st.SearchStrategy[tuple[RecordId, ...]]:
    """Sets of record ids."""
    return ascending(record_ids, most, least).map(lambda found: tuple(map(RecordId, found)))


def pairs(most: int, names_of: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[tuple[str, int], ...]]:
    """Named numbers."""
    return st.dictionaries(names_of, uints, max_size=min(most, 4)).map(
        lambda found: tuple(sorted(found.items()))
    )


@st.composite
def selector_texts(draw: st.DrawFn, most: int = 512) -> str:
    """Texts of selectors, with spaces where they may stand."""
    gap = st.sampled_from(["", " ", "  "])

    def term() -> str:
        key, values = draw(label_keys), draw(st.lists(names(), min_size=1, max_size=4))
        listed = ",".join(f"{draw(gap)}{value}{draw(gap)}" for value in values)
        shape = draw(
            st.sampled_from(
                ["{k}{g}={g}{v}", "{k}{g}!={g}{v}", "{k} in{g}({l})", "{k}  notin{g}({l})", "{k}", "!{g}{k}"]
            )
        )
        return draw(gap) + shape.format(k=key, v=values[0], l=listed, g=draw(gap)) + draw(gap)

    text = ",".join(term() for _ in range(draw(st.integers(1, 4))))
    return text if len(text) <= most else "*"


def selectors(most: int = 512) -> st.SearchStrategy[Selector]:
    """Selectors, `*` among them."""
    return st.one_of(st.just("*"), selector_texts(most)).map(parse)


def heads(most_seen: int = MAX_SEEN) -> st.SearchStrategy[Head]:
    """Places in a chain."""
    seen = st.dictionaries(st.integers(0, MAX_SEEN - 1), seqs, max_size=most_seen)
    return st.builds(
        lambda seq, prev, seen, at: Head(
            seq, NO_RECORD if seq == 1 else prev, tuple(sorted(seen.items())), at
        ),
        st.one_of(st.just(1), seqs),
        record_ids,
        seen,
        uints,
    )


extras = st.one_of(
    st.just(NO_EXTRA),
    st.builds(
        lambda ext, crit: Extra(tuple(sorted(ext.items())), tuple(sorted(crit))),
        st.dictionaries(texts(32), st.binary(max_size=20), max_size=3),
        st.sets(texts(32), max_size=3),
    ),
)  # fmt: skip

labels: st.SearchStrategy[Labels] = st.dictionaries(
    label_keys.filter(lambda key: key != INSTANCE), names(), max_size=5
).map(lambda found: tuple(sorted(found.items())))

enrolments = st.builds(
    Enrolment, heads(), names(), keys, labels, names(), st.sampled_from([(), (Duty.ENROL,)]), st.binary(max_size=16), ids(8), extras
)  # fmt: skip

policies = st.builds(
    Policy, heads(), names(), seqs, digests, st.integers(1, MAX_BODY), texts(128), texts(512), ids(8), st.none() | record_ids, extras
)  # fmt: skip


@st.composite
def plans(draw: st.DrawFn, *, restore: bool = False) -> Rollout:
    """Rollouts and restores."""
    stages = sorted(draw(st.sets(st.integers(1, 1_000_000), min_size=1, max_size=8)))
    return Rollout(
        head=draw(heads()),
        line=draw(names()),
        policy=draw(record_ids),
        base=draw(st.none() | record_ids),
        selector=draw(selectors()),
        roster=draw(digests),
        roster_size=draw(st.integers(1, MAX_BODY)),
        count=stages[-1],
        stages=tuple(stages),
        waves=tuple(draw(st.lists(texts(128), max_size=3))),
        salt=draw(st.binary(min_size=16, max_size=16)),
        on_abort=OnAbort.DENY if restore else draw(st.sampled_from(OnAbort)),
        message=draw(texts(512)),
        supersedes=draw(ids(8)),
        lifts=draw(ids(32, 1)) if restore else (),
        same_policy=draw(st.booleans()),
        until=0 if restore else draw(uints),
        observe=draw(seqs),
        bake=draw(seqs),
        trial=draw(seqs),
        gates=draw(pairs(16, texts(32))),
        caps=draw(pairs(16, texts(32))),
        extra=draw(extras),
    )


reasons = texts(MAX_REASON)
votes = st.builds(Vote, heads(), record_ids, st.integers(1, 33), st.none() | digests, extras)
cosigns = st.builds(Cosign, heads(), record_ids, extras)
aborts = st.builds(Abort, heads(), record_ids, reasons, extras)
holds = st.builds(Hold, heads(), record_ids, reasons, extras)
releases = st.builds(Release, heads(), record_ids, ids(32, 1), reasons, extras)
kills = st.builds(
    Kill,
    heads(MAX_SEEN_OF_KILL),
    selectors(MAX_KILL_SELECTOR),
    st.sets(texts(MAX_TOOL), max_size=MAX_TOOLS).map(lambda found: tuple(sorted(found))),
    reasons,
    uints,
    extras,
)
cuts = st.builds(Cut, st.integers(0, MAX_SEQ), record_ids)
revocations = st.builds(
    Revocation, heads(), st.builds(RevokedKey, key_ids, cuts) | st.builds(RevokedAgent, names()), reasons, extras
)  # fmt: skip

BY_KIND: dict[Kind, st.SearchStrategy[Control]] = {
    Kind.ENROLMENT: enrolments,
    Kind.POLICY: policies,
    Kind.ROLLOUT: plans(),
    Kind.RESTORE: plans(restore=True),
    Kind.VOTE: votes,
    Kind.COSIGN: cosigns,
    Kind.ABORT: aborts,
    Kind.HOLD: holds,
    Kind.RELEASE: releases,
    Kind.KILL: kills,
    Kind.REVOCATION: revocations,
}

controls: st.SearchStrategy[tuple[Kind, Control]] = st.one_of(
    *(payloads.map(lambda payload, kind=kind: (kind, payload)) for kind, payloads in BY_KIND.items())
)
"""Any payload of a control record, with its kind."""

reports = st.builds(
    AgentReport,
    names(),
    st.sampled_from(Standing),
    st.none() | record_ids,
    st.none() | record_ids,
    st.integers(0, 64),
    st.lists(st.binary(min_size=8, max_size=8), max_size=8).map(tuple),
    uints,
    uints,
    uints,
    uints,
    texts(256, 0),
)
statuses = st.builds(
    Status,
    seqs,
    seqs,
    uints,
    st.integers(0, MAX_SEQ),
    uints,
    st.binary(min_size=16, max_size=16),
    texts(256, 0),
    texts(64, 0),
    st.booleans(),
    st.lists(reports, max_size=3).map(tuple),
    extras,
)


@st.composite
def roots(draw: st.DrawFn) -> Root:
    """Root documents in which every role has a holder."""
    publics = draw(st.lists(keys, min_size=1, max_size=5, unique=True))
    first, *others = publics
    table = [RoleKey(first, draw(texts(32)), frozenset(Role), draw(selectors(256)), None)]
    for public in others:
        roles = draw(st.frozensets(st.sampled_from(Role)))
        table.append(RoleKey(public, draw(texts(32)), roles, draw(selectors(256)), draw(st.none() | cuts)))
    version = draw(st.one_of(st.just(1), seqs))
    return Root(
        version,
        draw(texts(64)),
        draw(uints),
        draw(st.binary(min_size=16, max_size=16)),
        NO_RECORD if version == 1 else draw(record_ids),
        tuple(draw(st.permutations(table))),
        tuple((role, 1) for role in sorted(Role)),
        tuple(draw(st.lists(st.binary(max_size=50), max_size=3))),
        draw(extras),
    )


rosters: st.SearchStrategy[Roster] = st.dictionaries(
    names(), st.tuples(texts(128), texts(128, 0)), max_size=8
).map(lambda found: tuple(Entry(agent, *found[agent]) for agent in sorted(found)))
