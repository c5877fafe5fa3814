"""What one pull takes in of what a node sends: each record verified and each once, and no more than can have
been signed."""

from collections.abc import Callable, Collection

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.control.errors import Untrusted
from faramesh_mesh.state.record_set import SLOT, RecordSet
from faramesh_mesh.trust.admission import admit
from faramesh_mesh.trust.keys import verify

MAX_USELESS = 256
"""Records of one pull that an honest node may send although nothing comes of them (of a newer kind, of a key
of a root that came meanwhile), or name and not send (given up meanwhile)."""


class Intake:
    """One pull's. Raises `Untrusted` for what no honest node sends: the pull ends there, and what came before
    is held."""

    def __init__(self, records: RecordSet, target: str, on_added: Callable[[Record], None] | None) -> None:
        self.added: list[Record] = []
        self.refused: list[Rejected] = []
        self._records = records
        self._target = target
        self._on_added = on_added
        self._sent: set[RecordId] = set()
        self._useless = 0

    def __contains__(self, record_id: RecordId) -> bool:
        """Whether the record is held, or came in this pull and was one fork too many to be held."""
        return record_id in self._records or record_id in self._sent

    def take(self, envelopes: Collection[bytes]) -> None:
        """Admit records in order."""
        most = SLOT * sum(key.quota for key in self._records.chain.keys)
        for envelope in envelopes:
            record = admit(envelope, self._records.chain, verify)
            if isinstance(record, Rejected):
                self._refuse(record)
                continue
            if record.id in self._sent or len(self._sent) == most:
                raise Untrusted(f"{self._target}: its records do not end")
            self._sent.add(record.id)
            if self._records.add(record).is_new:
                self.added.append(record)
                if self._on_added is not None:
                    self._on_added(record)

    def miss(self, number: int) -> None:
        """The node named so many records and did not send them."""
        self._useless += number
        if self._useless > MAX_USELESS:
            raise Untrusted(f"{self._target}: it names records and does not send them")

    def _refuse(self, refused: Rejected) -> None:
        self.refused.append(refused)
        if refused.reason.is_hostile or len(self.refused) > MAX_USELESS:
            raise Untrusted(f"{self._target}: it sent a record that does not verify: {refused}")
