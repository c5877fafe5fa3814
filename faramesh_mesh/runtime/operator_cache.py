"""What an operator's client keeps between commands: pulled records, the newest statuses seen, the journal of
its keys, and the outbox.

The journal is written before anything is sent: after a crash or a timeout the same record is offered again and the
chain goes on from it. A key whose chain forks loses its grants, so this file is what a key's life hangs on.

Records are verified when they are pulled. From here they are read back by their id, which is the hash of what was
signed, so damage shows; who could write a false record here could as well replace the pin that lies beside it.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.state.authoring import NO_CHAIN, ChainEnd

BUSY_MS = 10_000
"""How long a second command waits for the first: both only write a few rows."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (place INTEGER PRIMARY KEY, id BLOB UNIQUE NOT NULL, envelope BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS bodies (digest BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS statuses (node BLOB PRIMARY KEY, envelope BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS peers (address TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (key BLOB PRIMARY KEY, seq INTEGER NOT NULL, last BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (place INTEGER PRIMARY KEY, id BLOB UNIQUE NOT NULL, envelope BLOB NOT NULL);
"""

_ROOM = "see that the disk has room and that this user may read and write there, then run it again"


class OperatorHomeError(Exception):
    """The home is missing, damaged or of another mesh. `wrong` says so, `todo` what to do about it."""

    def __init__(self, wrong: str, todo: str) -> None:
        super().__init__(f"{wrong}; {todo}")
        self.wrong = wrong
        self.todo = todo


@dataclass(frozen=True, slots=True)
class Held:
    """A cached or signed record: its id and its envelope."""

    id: RecordId
    envelope: bytes


class OperatorCache:
    """What an operator's client keeps between commands. Every writing method is durable on return."""

    def __init__(self, path: Path) -> None:
        created = not path.exists()
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1_000)
        except sqlite3.OperationalError as error:
            raise OperatorHomeError(f"{path} cannot be opened ({error})", _ROOM) from None
        if created:
            path.chmod(0o600)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._database.close()
            raise OperatorHomeError(f"{path} cannot be used ({error})", _ROOM) from None
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise OperatorHomeError(
                f"{path} is damaged ({error})",
                "restore it from a backup, because it holds the place of each key in its chain; without one, "
                "sign no more with these keys",
            ) from None

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> "OperatorCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def records(self) -> list[Held]:
        """The records pulled so far, in the order in which they came."""
        rows = self._database.execute("SELECT id, envelope FROM records ORDER BY place")
        return [Held(RecordId(found), envelope) for found, envelope in rows]

    def bodies(self) -> dict[Digest, bytes]:
        """The bodies held."""
        return {
            Digest(digest): body for digest, body in self._database.execute("SELECT digest, body FROM bodies")
        }

    def peers(self) -> list[str]:
        """Addresses where nodes answered or were said to listen, newest first."""
        return [
            address
            for (address,) in self._database.execute("SELECT address FROM peers ORDER BY at DESC, address")
        ]

    def outbox(self) -> list[Held]:
        """What was signed here and is not yet known to be durable on enough nodes, oldest first."""
        rows = self._database.execute("SELECT id, envelope FROM outbox ORDER BY place")
        return [Held(RecordId(found), envelope) for found, envelope in rows]

    def journalled(self, key: KeyId) -> ChainEnd:
        """Where the chain of this key ends, as far as it was signed here."""
        row = self._database.execute("SELECT seq, last FROM journal WHERE key = ?", (key,)).fetchone()
        return NO_CHAIN if row is None else ChainEnd(int(row[0]), RecordId(row[1]))

    def keep(self, records: Iterable[Held], bodies: Mapping[Digest, bytes], peers: Mapping[str, int]) -> None:
        """Add verified records and bodies, and addresses with the time (milliseconds) they were last vouched for."""
        with self._transaction() as database:
            database.executemany(
                "INSERT OR IGNORE INTO records (id, envelope) VALUES (?, ?)",
                [(held.id, held.envelope) for held in records],
            )
            database.executemany("INSERT OR IGNORE INTO bodies VALUES (?, ?)", list(bodies.items()))
            database.executemany(
                "INSERT INTO peers VALUES (?, ?) ON CONFLICT (address) DO UPDATE SET at = max(at, excluded.at)",
                list(peers.items()),
            )

    def statuses(self) -> list[bytes]:
        """The newest status seen of each node, as it was signed: an older one is never news."""
        return [envelope for (envelope,) in self._database.execute("SELECT envelope FROM statuses")]

    def keep_statuses(self, envelopes: Mapping[KeyId, bytes]) -> None:
        """Remember these in the place of older ones of the same nodes."""
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO statuses VALUES (?, ?)", list(envelopes.items()))

    def drop(self, records: Iterable[RecordId]) -> None:
        """Forget cached records that turned out to be damaged; they are pulled again."""
        with self._transaction() as database:
            database.executemany("DELETE FROM records WHERE id = ?", [(one,) for one in records])

    def sign(self, records: Iterable[Record], bodies: Mapping[Digest, bytes]) -> None:
        """Journal signed records and put them into the outbox, in one transaction: before this returns, nothing of
        them may leave this machine. Raises `ValueError` for a record that would fork its key's chain."""
        with self._transaction() as database:
            for record in records:
                before = self.journalled(record.key)
                if record.head.seq <= before.seq:
                    raise ValueError(f"{record.short} would fork the chain of its key")
                database.execute(
                    "INSERT OR REPLACE INTO journal VALUES (?, ?, ?)",
                    (record.key, record.head.seq, record.id),
                )
                database.execute(
                    "INSERT INTO outbox (id, envelope) VALUES (?, ?)", (record.id, record.envelope)
                )
            database.executemany("INSERT OR IGNORE INTO bodies VALUES (?, ?)", list(bodies.items()))

    def sent(self, records: Iterable[RecordId]) -> None:
        """These are durable on enough nodes: they leave the outbox."""
        with self._transaction() as database:
            database.executemany("DELETE FROM outbox WHERE id = ?", [(one,) for one in records])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise OperatorHomeError(
                f"it cannot be written ({error}); nothing was kept, and nothing was sent", _ROOM
            ) from None
