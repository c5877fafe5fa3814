"""The head of the next record that a key signs: where its chain ends and what its holder has seen."""

from dataclasses import dataclass

from faramesh_mesh.records.chain import Head
from faramesh_mesh.records.ids import NO_RECORD, KeyId, RecordId
from faramesh_mesh.records.kill import MAX_SEEN_OF_KILL
from faramesh_mesh.records.role import Role
from faramesh_mesh.state.record_set import RecordSet


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last record of a key's chain. Journalled by the client that holds the key before the record is
    sent, so that a crash repeats the same record instead of forking the chain."""

    seq: int
    last: RecordId


NO_CHAIN = ChainEnd(0, NO_RECORD)


def chain_end(records: RecordSet, key: KeyId) -> ChainEnd:
    """The end of a key's chain as far as it is held. At a fork the smallest id continues it."""
    seq = records.gapless(key)
    return NO_CHAIN if seq == 0 else ChainEnd(seq, records.slot(key, seq)[0].id)


def next_head(records: RecordSet, key: KeyId, at: int, journalled: ChainEnd = NO_CHAIN) -> Head:
    """The head of the key's next record, issued at wall time `at` (milliseconds).

    `journalled` is the end that the key's own client remembers; the further of it and what is held is continued.
    """
    held = chain_end(records, key)
    end = held if held.seq > journalled.seq else journalled
    own = records.chain.index(key)
    seen = tuple((index, seq) for index, seq in records.frontier.items() if index != own)
    return Head(end.seq + 1, end.last, seen, at)


def head_of_kill(records: RecordSet, key: KeyId, at: int, journalled: ChainEnd = NO_CHAIN) -> Head:
    """The head of a kill: as `next_head`, but with few enough entries for a kill to fit 1 KiB.

    Enrolments decide which agents a selector means, so the enrol keys come first. A shorter vector only makes the
    kill wider: an enrolment whose successor it does not name counts still.
    """
    head = next_head(records, key, at, journalled)
    keys = records.chain.keys
    first = sorted(head.seen, key=lambda entry: (Role.ENROL not in keys[entry[0]].roles, entry[0]))
    return Head(head.seq, head.prev, tuple(sorted(first[:MAX_SEEN_OF_KILL])), head.at)
