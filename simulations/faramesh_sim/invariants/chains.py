"""FORKED_CHAIN, promise 2: an honest key never signs two records under one number, whatever node its holder spoke to."""

from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import Record
from faramesh_sim.invariants.invariant import Found, Invariant


class ForkedChain(Invariant):
    """A fork is the proof of a stolen key. Operators journal where their chains end, so that a stale node gives no false one."""

    name = "FORKED_CHAIN"
    promise = 2

    def signed(self, record: Record) -> Found:
        """Is the number free?"""
        entries = self.world.ledger.entries
        if entries[record.id].stolen:
            return
        known = self._numbers.setdefault((record.key, record.head.seq), record)
        if known.id != record.id:
            by = entries[record.id].by
            yield self.violated(
                by, f"{by} signed {known.short} and {record.short} under number {record.head.seq}"
            )

    @property
    def _numbers(self) -> dict[tuple[KeyId, int], Record]:
        return self.world.ledger.numbers
