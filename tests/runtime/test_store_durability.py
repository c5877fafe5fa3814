"""Durability, on real processes: killed in the middle of commits, and cut from power on a disk that forgets what was not synced."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.runtime.store import Loaded, Store


def records(first: int, last: int) -> tuple[tuple[RecordId, bytes], ...]:
    envelopes = [b"record %d " % number * 20 for number in range(first, last)]
    return tuple((RecordId(sha256(each).digest()), each) for each in envelopes)


def reopened(path: Path) -> Loaded:
    with closing(Store.open(path)) as store:
        return store.load()


WRITER = r"""
import os
import sys
from hashlib import sha256
from pathlib import Path
from faramesh_mesh.runtime.store import Batch, Store
store = Store.open(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    envelopes = [b"record %d " % (number * 5 + i) * 20 for i in range(5)]
    os.write(1, b"begin %d\n" % number)
    store.commit(Batch(records=tuple((sha256(each).digest(), each) for each in envelopes)))
    os.write(1, b"done %d\n" % number)
os._exit(0)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_everything_acknowledged_survives_sigkill(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "mesh.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "100000"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        done = -1
        for line in process.stdout:
            if line.startswith("done"):
                done = int(line.split()[1])
            if done + 1 == acknowledged:
                process.send_signal(signal.SIGKILL)
                break
        for line in process.stdout:  # what it still said before it died
            if line.startswith("done") and line.endswith("\n"):
                done = int(line.split()[1])
    loaded = reopened(path)
    assert len(loaded.records) >= (done + 1) * 5
    assert len(loaded.records) % 5 == 0, "a transaction is whole"
    assert loaded.records == records(0, len(loaded.records))
    assert loaded.damaged == ()


@dataclass
class Disk:
    """A disk that loses everything that was not synced: built from the system calls of a process."""

    cached: dict[str, bytearray] = field(default_factory=dict)
    durable: dict[str, bytes] = field(default_factory=dict)

    def apply(self, call: str, path: str, data: bytes, numbers: tuple[int, ...]) -> None:
        """One system call of the process."""
        match call:
            case "pwrite64":
                self.write(path, data, numbers[1])
            case "ftruncate":
                self.truncate(path, numbers[0])
            case "fsync" | "fdatasync":
                self.durable[path] = bytes(self.cached.get(path, b""))
            case "unlink":
                self.cached.pop(path, None)
                self.durable.pop(path, None)
            case _:
                pass

    def write(self, path: str, data: bytes, at: int) -> None:
        file = self.cached.setdefault(path, bytearray())
        file.extend(bytes(max(0, at + len(data) - len(file))))
        file[at : at + len(data)] = data

    def truncate(self, path: str, size: int) -> None:
        file = self.cached.setdefault(path, bytearray())
        file[size:] = bytes(max(0, size - len(file)))

    def after_power_cut(self, folder: Path) -> Path:
        """The files as they would be found."""
        folder.mkdir()
        for path, data in self.durable.items():
            (folder / Path(path).name).write_bytes(data)
        return folder / "mesh.db"


CALL = re.compile(r'(\w+)\((?:\d+<([^>]*)>|"([^"]*)")(?:, (?:"([^"]*)", )?(\d+)(?:, (\d+))?)?\) = \d+')


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def calls(trace: Path) -> Iterator[tuple[str, str, bytes, tuple[int, ...]]]:
    """The system calls of a trace: name, file, data, numbers."""
    for line in trace.read_text().splitlines():
        match = CALL.search(line)
        if match is not None:
            call, on, named, data, *numbers = match.groups()
            yield call, unhex(on or named).decode(), unhex(data or ""), tuple(int(n) for n in numbers if n)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_acknowledged_lives_only_in_the_page_cache(tmp_path: Path) -> None:
    """SIGKILL cannot show a missing fsync, because the kernel writes on. So every write and sync of a process is traced, and at
    each acknowledgement a disk is built that holds only what was synced. All that was acknowledged must be on it."""
    path, trace = tmp_path / "mesh.db", tmp_path / "trace"
    options = "-f -y -xx -s 1000000 -e trace=pwrite64,write,ftruncate,fsync,fdatasync,unlink -o"
    traced = subprocess.run(
        ["strace", *options.split(), str(trace), sys.executable, "-c", WRITER, str(path), "8"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    if b"ptrace" in traced.stderr.lower():
        pytest.skip(f"tracing is not permitted here: {traced.stderr.decode(errors='replace').strip()}")
    disk, acknowledged, synced = Disk(), 0, False
    for call, file, data, numbers in calls(trace):
        if file.startswith(str(path)):
            disk.apply(call, file, data, numbers)
            synced = synced or (call in ("fsync", "fdatasync") and file.endswith("-wal"))
        elif data.startswith(b"begin"):
            synced = False
        elif data.startswith(b"done"):
            acknowledged += 1
            assert synced, "no fsync between the start of the commit and its acknowledgement"
            found = reopened(disk.after_power_cut(tmp_path / f"cut-{acknowledged}"))
            assert found.records == records(0, acknowledged * 5)
            assert found.damaged == ()
    assert acknowledged == 8
