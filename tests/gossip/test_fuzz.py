"""Messages that are well formed and say anything: a member may be hostile too."""

from __future__ import annotations

import workshop
from gossip.test_attacks import Door
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faramesh_mesh.gossip import messages as m
from faramesh_mesh.gossip import wire
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.records.chain import MAX_SEQ
from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.state.trie import Branch

SEQ = st.integers(1, MAX_SEQ)
NODES = st.sampled_from([workshop.node_signer(name).id for name in "abcd"]) | st.binary(
    min_size=16, max_size=16
).map(KeyId)
IDS = st.binary(min_size=32, max_size=32).map(RecordId)
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
PREFIXES = st.lists(st.integers(0, 15), max_size=2).map(tuple)
BRANCHES = st.lists(
    st.builds(Branch, st.binary(min_size=16, max_size=16), st.integers(0, (1 << 32) - 1)),
    min_size=16,
    max_size=16,
).map(tuple)
SUMMARIES = st.builds(
    m.Summary,
    SEQ,
    st.integers(0, 1 << 40),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
)
SLOTS = st.builds(m.SlotVersion, NODES, SEQ, st.integers(0, MAX_SEQ))
PEERS = st.lists(st.builds(m.PeerAddress, NODES, st.sampled_from(["x:1", "b:1", "a:7420"])), max_size=8).map(
    tuple
)
MESSAGES = st.one_of(
    st.builds(m.Ping, SEQ, SUMMARIES),
    st.builds(m.Pong, SEQ, SUMMARIES),
    st.builds(
        m.Step,
        st.lists(st.tuples(PREFIXES, BRANCHES), max_size=3).map(tuple),
        st.lists(st.tuples(PREFIXES, st.lists(IDS, max_size=5).map(tuple)), max_size=3).map(tuple),
        st.lists(IDS, max_size=5).map(tuple),
    ),
    st.builds(
        m.Pull, st.integers(0, 1 << 62), st.lists(st.tuples(st.integers(0, 63), SEQ), max_size=4).map(tuple)
    ),
    st.builds(m.Neighbour, st.booleans()),
    st.builds(m.Neighbours, st.booleans(), PEERS),
    st.builds(m.Shuffle, st.booleans(), PEERS),
    st.builds(m.Digests, st.lists(st.binary(min_size=8, max_size=8), min_size=16, max_size=16).map(tuple)),
    st.builds(m.Versions, st.none() | st.integers(0, 15), st.lists(SLOTS, max_size=5).map(tuple)),
    st.builds(m.WantStatuses, st.lists(NODES, min_size=1, max_size=5).map(tuple)),
    st.builds(m.Suspect, st.lists(st.builds(m.suspicion_of, SLOTS, NODES), max_size=4).map(tuple)),
    st.builds(m.WantBody, DIGESTS),
    st.builds(
        m.BodyManifest, DIGESTS, st.integers(1, 1 << 20), st.lists(DIGESTS, min_size=1, max_size=3).map(tuple)
    ),
    st.builds(m.Absent, DIGESTS),
    st.builds(m.WantChunk, DIGESTS, st.integers(0, 63)),
    st.builds(m.Leave),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(said=st.lists(MESSAGES, max_size=20))
def test_whatever_a_hostile_member_says_nothing_is_raised_and_no_record_appears(
    said: list[m.Encoded],
) -> None:
    door = Door()
    door.connect()
    door.send(door.hello())
    for at, message in enumerate(said):
        door.send(wire.write(message))
        if at % 5 == 0:
            door.answers()
            door.tick(1.1)
    door.answers()
    assert door.unchanged
    assert len(door.host.node.statuses) <= 3


@settings(max_examples=150, deadline=None)
@given(message=MESSAGES)
def test_every_message_comes_back_from_its_frame(message: m.Encoded) -> None:
    assert wire.read(wire.write(message)[PREFIX_SIZE:]) == message
