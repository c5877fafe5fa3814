"""The home directory: whole files, closed secrets, one node at a time, a socket that fits."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.records.enrolment import Duty
from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.records.selector import LABEL_VALUE
from faramesh_mesh.runtime import files
from faramesh_mesh.runtime.config import ConfigError, Discovery, NodeHomeConfig, format_config, parse_config
from faramesh_mesh.runtime.files import TooOpenError, write_atomically
from faramesh_mesh.runtime.home import MAX_SOCKET_PATH, Home, HomeError, HomeInUseError, HomeMissingError

SEED = bytes(range(32))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "node")
    made.create()
    return made


def test_what_is_written_is_read_back(home: Home) -> None:
    config = NodeHomeConfig("billing-7", seeds=("m1:7420",), duties=(Duty.ENROL,))
    home.write_seed(SEED)
    home.write_enrol_seed(SEED[::-1])
    home.write_link(b"pem")
    home.write_config(config)
    assert not home.is_joined
    home.write_pin(MeshId(SEED))
    assert home.is_joined
    assert home.read_seed() == SEED
    assert home.read_enrol_seed() == SEED[::-1]
    assert home.read_link() == b"pem"
    assert home.read_config() == config
    assert home.read_pin() == SEED


def test_the_directory_and_its_secrets_are_closed(home: Home) -> None:
    home.write_seed(SEED)
    home.write_link(b"pem")
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert (home.path / "node.key").stat().st_mode & 0o777 == 0o600
    assert home.link.stat().st_mode & 0o777 == 0o600


def test_a_directory_that_stood_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir(mode=0o755)
    Home(tmp_path / "node").create()
    assert (tmp_path / "node").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_that_others_may_use_is_refused_with_the_remedy(home: Home, mode: int) -> None:
    home.write_seed(SEED)
    (home.path / "node.key").chmod(mode)
    with pytest.raises(TooOpenError, match=r"chmod 600 .*node\.key"):
        home.read_seed()


def test_what_is_missing_says_how_to_join(home: Home) -> None:
    for read in (home.read_seed, home.read_pin, home.read_link, home.read_config):
        with pytest.raises(HomeMissingError, match="node join"):
            read()
    assert home.read_enrol_seed() is None


@pytest.mark.parametrize("text", [b"", b"abc", b"zz" * 32, b"00" * 31, b"\xff" * 64])
def test_a_key_file_that_holds_no_key_is_an_error_that_names_it(home: Home, text: bytes) -> None:
    write_atomically(home.path / "node.key", text)
    with pytest.raises(HomeError, match=r"node\.key"):
        home.read_seed()


class TestLock:
    def test_a_second_node_is_refused_and_told_whose_it_is(self, home: Home) -> None:
        with home.locked(), pytest.raises(HomeInUseError, match=str(os.getpid())), home.locked():
            pass
        with home.locked():
            pass

    def test_a_killed_process_lets_go(self, home: Home) -> None:
        code = f"""
from pathlib import Path
from faramesh_mesh.runtime.home import Home
with Home(Path({str(home.path)!r})).locked():
    print("locked", flush=True)
    input()
"""
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            with pytest.raises(HomeInUseError, match=str(process.pid)), home.locked():
                pass
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            with home.locked():
                pass

    def test_a_home_that_others_may_write_is_refused(self, home: Home) -> None:
        home.path.chmod(0o770)
        with pytest.raises(TooOpenError, match="chmod 700"), home.locked():
            pass

    def test_a_home_that_is_not_there_says_how_to_join(self, tmp_path: Path) -> None:
        with pytest.raises(HomeMissingError, match="node join"), Home(tmp_path / "none").locked():
            pass

    def test_what_a_killed_writer_left_is_swept(self, home: Home) -> None:
        (home.path / ".node.key.abc.part").write_bytes(b"half")
        with home.locked():
            assert not list(home.path.glob(".*"))


class TestWholeFiles:
    def test_a_failed_write_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        write_atomically(path, b"old")

        def no_space(_handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_killed_writer_leaves_the_old_file_or_the_new_one(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        old, new = b"a" * 200_000, b"b" * 200_000
        write_atomically(path, old)
        code = f"""
from pathlib import Path
from faramesh_mesh.runtime.files import write_atomically
print("go", flush=True)
while True:
    for letter in (b"b", b"a"):
        write_atomically(Path({str(path)!r}), letter * 200_000)
"""
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(200):
                assert path.read_bytes() in (old, new)
            process.kill()
        assert path.read_bytes() in (old, new)


class TestControlSocket:
    def test_it_is_in_the_home_where_the_path_fits(self, home: Home) -> None:
        assert home.place_control_socket() == home.find_control_socket() == home.path / "control.sock"

    def test_a_long_home_has_a_short_socket_that_clients_find(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = tmp_path / "run"
        room.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(room) if len(str(room)) <= 40 else "")
        home = Home(tmp_path / ("long" * 30))
        home.create()
        place = home.place_control_socket()
        assert len(os.fsencode(place)) <= MAX_SOCKET_PATH
        assert place.parent.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(place))
            monkeypatch.setenv("XDG_RUNTIME_DIR", "/elsewhere")
            assert home.find_control_socket() == place
        place.unlink()

    def test_a_socket_that_a_dead_node_left_is_removed(self, home: Home) -> None:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(home.path / "control.sock"))
        assert home.find_control_socket().exists()
        assert not home.place_control_socket().exists()


printable = st.text(max_size=30)
hosts = st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z0-9-]{1,10}){0,2}:[1-9][0-9]{0,3}", fullmatch=True)


class TestConfig:
    @given(
        st.builds(
            NodeHomeConfig,
            agent=st.from_regex(LABEL_VALUE, fullmatch=True),
            listen=hosts,
            advertise=hosts | st.just(""),
            seeds=st.lists(hosts, max_size=3).map(tuple),
            discovery=st.builds(
                Discovery, st.booleans(), dns=st.lists(printable, max_size=3).map(tuple), file=printable
            ),
            duties=st.sampled_from([(), (Duty.ENROL,)]),
        )
    )
    def test_any_settings_survive_the_file(self, config: NodeHomeConfig) -> None:
        assert parse_config(format_config(config)) == config

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("agent = ", "config.toml"),
            ('agent = "a b"', "agent"),
            ('agent = "a"\nport = 3', "port: no such setting"),
            ('agent = "a"\nseeds = "m1"', "seeds: expected a list"),
            ('agent = "a"\nseeds = ["m1:x"]', "seeds: .*port"),
            ('agent = "a"\nduties = ["cook"]', "cook"),
            ('agent = "a"\n[discovery]\nmdns = "yes"', "discovery.mdns"),
            ('agent = "a"\n[discovery]\nmdsn = true', "discovery.mdsn: no such"),
            ("", "agent"),
        ],
    )
    def test_a_mistake_is_named(self, text: str, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            parse_config(text)

    def test_settings_that_could_not_be_read_back_are_not_written(self, home: Home) -> None:
        with pytest.raises(ConfigError):
            home.write_config(NodeHomeConfig("no name"))
        assert not (home.path / "config.toml").exists()
