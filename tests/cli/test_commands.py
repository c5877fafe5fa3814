"""Each command typed wrong once: what it says, its exit code, and that nothing was changed."""

import ast
import errno
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faramesh_cli import refusal
from faramesh_cli.exits import ExitCode
from faramesh_cli.main import app
from faramesh_mesh.runtime.operator_home import open_home
from faramesh_mesh.runtime.token import parse_token

POLICY = "agent * {\n  default deny\n  rules {\n    permit stripe/refund when amount <= 100\n  }\n}\n"


def run(*arguments: str, home: Path | None = None, typed: str | None = None) -> Result:
    at = () if home is None else ("--home", str(home))
    return CliRunner().invoke(app, [*at, *arguments], input=typed)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No home of the person who runs the tests is ever looked at."""
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    for variable in ("FARAMESH_MESH_HOME", "FARAMESH_MESH_PEER", "FARAMESH_MESH_PASSPHRASE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert run("init", "acme", "--no-passphrase", home=tmp_path / "acme").exit_code == 0
    return tmp_path / "acme"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "refunds.fpl"
    path.write_text(POLICY)
    return str(path)


WRONG: list[tuple[tuple[str, ...], ExitCode, str]] = [
    (("lis",), ExitCode.USAGE, "No such command 'lis'"),
    (("fleet", "puhs"), ExitCode.USAGE, "No such command 'puhs'. Did you mean 'push'"),
    (("fleet", "list", "--wid"), ExitCode.USAGE, "No such option: --wid"),
    (("--format", "xml", "fleet", "list"), ExitCode.USAGE, "'xml' is not one of"),
    (("init",), ExitCode.USAGE, "Missing argument"),
    (("init", "a/b", "--no-passphrase"), ExitCode.USAGE, "'a/b' cannot name a mesh"),
    (("init", "node", "--no-passphrase"), ExitCode.USAGE, "'node' cannot name a mesh"),
    (("init", "acme"), ExitCode.USAGE, "no passphrase for the new keys, and nobody is at the keyboard"),
    (("root", "show"), ExitCode.ERROR, "no mesh here"),
    (("enrol", "token"), ExitCode.USAGE, "Missing option"),
    (("enrol", "token", "--uses", "0", "--ttl", "1h"), ExitCode.USAGE, "0 is not in the range"),
    (("enrol", "token", "--uses", "1", "--ttl", "60"), ExitCode.USAGE, "--ttl: '60' is not a duration"),
    (("enrol", "token", "--uses", "1", "--ttl", "1h", "--label", "eu"), ExitCode.USAGE, "'eu' is not a label"),
    (("enrol", "token", "--uses", "1", "--ttl", "1h", "--duty", "cook"), ExitCode.USAGE, "'cook' is not a duty"),
    (("enrol", "token", "--uses", "1", "--ttl", "1h", "--duty", "enrol", "--seed", "m1"), ExitCode.USAGE, "no address"),
    (("enrol", "token", "--uses", "1", "--ttl", "1h"), ExitCode.ERROR, "no mesh here"),
    (("node", "join", "hello"), ExitCode.USAGE, "this is not a join token"),
    (("node", "run"), ExitCode.ERROR, "belongs to no mesh yet"),
    (("node", "info"), ExitCode.ERROR, "no node here"),
    (("decide", "x", "--arg", "amount"), ExitCode.USAGE, "'amount' is not an argument"),
    (("decide", "x", "--arg", "k=1", "--arg", "k=2"), ExitCode.USAGE, "--arg: k is given twice"),
    (("--peer", "m1:7420", "decide", "x"), ExitCode.USAGE, "--peer m1:7420: a node answers this on its own machine"),
    (("audit", "tail", "--peer", "m1:7420"), ExitCode.USAGE, "--peer m1:7420: a node answers this on its own machine"),
    (("audit", "verify", "--peer", "m1"), ExitCode.USAGE, "--peer m1: a node answers this on its own machine"),
    (("--peer", "unix:///nowhere.sock", "decide", "x"), ExitCode.ERROR, "unix:///nowhere.sock"),
    (("decide", ""), ExitCode.USAGE, "a tool's name has 1 to 256 bytes"),
    (("decide", "x"), ExitCode.ERROR, "no node here"),
    (("demo", "--keep", "/dev/null"), ExitCode.USAGE, "--keep /dev/null: "),
    (("demo", "--keep", "/proc/x"), ExitCode.USAGE, "--keep /proc/x: "),
    (("audit", "tail"), ExitCode.ERROR, "no node here"),
    (("audit", "verify"), ExitCode.ERROR, "no node here"),
    (("audit", "tail", "--follow", "--format", "json"), ExitCode.USAGE, "use --format jsonl"),
    (("fleet", "list", "--watch", "--format", "json"), ExitCode.USAGE, "use --format jsonl"),
    (("fleet", "list", "-l", "region=="), ExitCode.USAGE, "expected a comma at character 7"),
    (("fleet", "list"), ExitCode.ERROR, "no mesh here"),
    (("fleet", "status", "r-5d1e"), ExitCode.ERROR, "no mesh here"),
    (("fleet", "kill", "m1"), ExitCode.USAGE, "Missing option '--reason'"),
    (("fleet", "kill", "--reason", "x"), ExitCode.USAGE, "no target"),
    (("fleet", "kill", "m1", "--all", "--reason", "x"), ExitCode.USAGE, "name the target once"),
    (("fleet", "kill", "m1", "--reason", " "), ExitCode.USAGE, "--reason has 1 to 256 bytes"),
    (("fleet", "kill", "m1", "--reason", "x", "--wait", "most"), ExitCode.USAGE, "'most' is not a share"),
    (("fleet", "kill", "m1", "--reason", "x", "--tools", "["), ExitCode.USAGE, "without --tools all is denied"),
    (("fleet", "kill", "m1", "--reason", "x", "--tools", "shell/**"), ExitCode.USAGE, "--tools 'shell/*' --tools 'shell/*/*'"),
    (("fleet", "kill", "m1", "--reason", "x", "--tools", "**/run"), ExitCode.USAGE, "without --tools all is denied"),
    (("fleet", "kill", "m1", "--reason", "x", "--tools", "\u0455hell/*"), ExitCode.USAGE, "U+0455"),
    (("fleet", "kill", "m1", "--reason", "x", "--tools", "!shell/*"), ExitCode.USAGE, "negates nothing here"),
    (("fleet", "kill", "m1", "--reason", "x", "--tools", "a/* b/*"), ExitCode.USAGE, "' ' is no part of a tool pattern"),
    (("fleet", "kill", "m1", "--reason", "x", "--tools", ""), ExitCode.USAGE, "a glob has 1 to 56 bytes"),
    (("fleet", "kill", "m1", "--reason", "x"), ExitCode.ERROR, "no mesh here"),
    (("fleet", "push", "--all", "--message", "x"), ExitCode.USAGE, "Missing option '--policy'"),
    (("fleet", "push", "--policy", "x", "--message", "x"), ExitCode.USAGE, "no target"),
    (("fleet", "push", "--all", "--policy", "x", "--message", ""), ExitCode.USAGE, "--message has 1 to 512 bytes"),
    (("fleet", "push", "--all", "--policy", "/nowhere", "--message", "x"), ExitCode.ERROR, "cannot be read"),
    (("fleet", "push", "--all", "--policy", "x", "-m", "x", "--stages", "3,2"), ExitCode.USAGE, "must be larger"),
    (("fleet", "push", "--all", "--policy", "x", "-m", "x", "--on-abort", "cry"), ExitCode.USAGE, "'cry' is not one of"),
    (("fleet", "promote",), ExitCode.USAGE, "Missing argument"),
    (("fleet", "promote", "r-5d1e", "--to-stage", "0"), ExitCode.USAGE, "0 is not in the range"),
    (("fleet", "promote", "r-5d1e"), ExitCode.ERROR, "no mesh here"),
    (("fleet", "cosign", "r-5d1e"), ExitCode.ERROR, "no mesh here"),
    (("fleet", "abort", "r-5d1e"), ExitCode.USAGE, "Missing option '--reason'"),
    (("fleet", "hold", "r-5d1e", "--reason", ""), ExitCode.USAGE, "--reason has 1 to 256 bytes"),
    (("fleet", "release", "r-5d1e", "--reason", "x"), ExitCode.ERROR, "no mesh here"),
    (("fleet", "restore", "k-b02f"), ExitCode.USAGE, "a restore brings a corrected policy"),
    (("fleet", "restore", "k-b02f", "--policy", "x", "--same-policy"), ExitCode.USAGE, "say opposite things"),
    (("fleet", "restore", "k-b02f", "--same-policy"), ExitCode.USAGE, "a restore says what was corrected"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "code", "says"), WRONG, ids=[" ".join(typed) for typed, _, _ in WRONG])
def test_typed_wrong(typed: tuple[str, ...], code: ExitCode, says: str, tmp_path: Path):
    result = run(*typed)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "[Errno" not in result.stderr
    if not result.stderr.startswith("Usage:"):  # the parser of options has words of its own
        assert re.search(r"\n  unchanged: .*\n  next: |\"unchanged\": \"\w.*\"next\": \"\w", result.stderr)
    assert not (tmp_path / "nobody").exists()


def test_init_makes_a_home_and_says_what_to_back_up(home: Path):
    made = open_home(home)
    assert made.name == "acme"
    assert [key.name for key in made.key_files()] == ["enrol-1", "ops-1", "reader-1"]
    assert len(made.chain.current.authorities) == 1


def test_init_never_touches_a_home_that_is_there(home: Path):
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    result = run("init", "acme", "--no-passphrase", home=home)
    assert result.exit_code == ExitCode.ERROR
    assert "unchanged: that mesh and its keys" in result.stderr
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_a_production_mesh_needs_two_of_three(tmp_path: Path):
    result = run(
        "init", "acme", "--profile", "production", "--no-passphrase", "--format", "json", home=tmp_path / "p"
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["keys"] == [
        "root-1", "root-2", "root-3", "ops-1", "ops-2", "ops-3", "enrol-1", "reader-1",
    ]  # fmt: skip
    shown = run("root", "show", home=tmp_path / "p")
    assert "signatures needed: root 2, policy 2, rollout 2, restore 2, all others 1" in shown.stdout


def test_global_options_stand_before_or_after_the_command(home: Path):
    before = CliRunner().invoke(app, ["--home", str(home), "--format", "json", "root", "show"])
    between = CliRunner().invoke(app, ["root", "--home", str(home), "--format", "json", "show"])
    after = CliRunner().invoke(app, ["root", "show", "--format", "json", "--home", str(home)])
    assert before.exit_code == between.exit_code == after.exit_code == 0
    first, second, third = (json.loads(each.stdout) for each in (before, between, after))
    assert first | {"as_of": ""} == second | {"as_of": ""} == third | {"as_of": ""}


@pytest.mark.parametrize("group", ["audit", "enrol", "fleet", "node", "root", "sim"])
def test_global_options_stand_between_a_group_and_its_command(group: str):
    assert "--peer" in run(group, "--help").stdout
    assert run(group, "--peer", "m1:7420", "no-such").exit_code == ExitCode.USAGE


def test_an_option_that_is_given_counts_before_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FARAMESH_MESH_PEER", "127.0.0.1:2")
    assert "127.0.0.1:2" in run("fleet", "list", home=home).stderr
    for typed in (("--peer", "127.0.0.1:1", "fleet", "list"), ("fleet", "--peer", "127.0.0.1:1", "list")):
        assert "no node answers: 127.0.0.1:1: " in run(*typed, home=home).stderr


def test_a_sealed_key_needs_its_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FARAMESH_MESH_PASSPHRASE", "correct horse")
    home = tmp_path / "acme"
    assert run("init", "acme", home=home).exit_code == 0
    assert run("enrol", "token", "--uses", "1", "--ttl", "1h", home=home).exit_code == 0
    monkeypatch.setenv("FARAMESH_MESH_PASSPHRASE", "wrong")
    result = run("enrol", "token", "--uses", "1", "--ttl", "1h", home=home)
    assert result.exit_code == ExitCode.NOT_AUTHORISED
    assert "the passphrase does not open key enrol-1" in result.stderr
    assert "  unchanged: nothing was signed\n  next: " in result.stderr
    assert result.stdout == ""


def test_a_token_stands_alone_on_standard_output(home: Path):
    result = run("enrol", "token", "--uses", "3", "--ttl", "1h", "--label", "region=lab", home=home)
    token = parse_token(result.stdout)
    assert token.enrol_seed is None
    assert token.grant.terms.labels == (("region", "lab"),)
    assert token.grant.terms.uses == 3


def test_a_token_that_carries_no_address_says_so_and_how_to_give_one(home: Path):
    terms = ("enrol", "token", "--uses", "1", "--ttl", "1h")
    result = run(*terms, home=home)
    assert "carries none and cannot be used as it is" in result.stderr
    assert "--seed HOST:PORT" in result.stderr
    for more in (("--seed", "m1:7420"), ("--duty", "enrol")):
        assert "cannot be used" not in run(*terms, *more, home=home).stderr


@pytest.mark.parametrize(
    "listen", ["no-such-host.invalid", "no-such-host.invalid:7420", "192.0.2.7:7420", "a b"]
)
def test_where_this_machine_cannot_listen_is_refused(home: Path, tmp_path: Path, listen: str):
    token = run("enrol", "token", "--uses", "1", "--ttl", "1h", "--duty", "enrol", home=home).stdout
    result = run("node", "join", "-", "--agent", "m1", "--listen", listen, home=tmp_path / "m1", typed=token)
    assert result.exit_code == ExitCode.USAGE
    assert "--listen" in result.stderr
    assert not (tmp_path / "m1").exists()


def test_a_token_that_carries_the_enrol_key_is_warned_about(home: Path):
    result = run("enrol", "token", "--uses", "1", "--ttl", "1h", "--duty", "enrol", home=home)
    assert "! this token carries the enrol key" in result.stderr
    assert parse_token(result.stdout).enrol_seed is not None


def test_the_first_machine_enrols_itself_once(home: Path, tmp_path: Path):
    token = run("enrol", "token", "--uses", "1", "--ttl", "1h", "--duty", "enrol", home=home).stdout
    joined = run("node", "join", "-", "--agent", "m1", home=tmp_path / "m1", typed=token)
    assert joined.exit_code == 0, joined.output
    assert "enrolled m1 (no labels) in mesh acme" in joined.stdout
    assert joined.stdout.endswith(f"Next: faramesh-mesh node run --home {tmp_path / 'm1'}\n")
    again = run("node", "join", token.strip(), "--agent", "m1", home=tmp_path / "m1")
    assert again.exit_code == ExitCode.ERROR
    assert "belongs to a mesh already" in again.stderr


def test_a_token_without_an_address_says_to_name_one(home: Path, tmp_path: Path):
    token = run("enrol", "token", "--uses", "1", "--ttl", "1h", home=home).stdout.strip()
    result = run("node", "join", token, "--agent", "m2", home=tmp_path / "m2")
    assert result.exit_code == ExitCode.ERROR
    assert "name a node that runs with --seed" in result.stderr


def joined(home: Path, place: Path, *more: str) -> Path:
    token = run("enrol", "token", "--uses", "1", "--ttl", "1h", "--duty", "enrol", home=home).stdout
    assert run("node", "join", "-", "--agent", "m1", *more, home=place, typed=token).exit_code == 0
    return place


def test_broken_settings_are_named_with_their_file(home: Path, tmp_path: Path):
    node = joined(home, tmp_path / "m1")
    (node / "config.toml").write_text("agent = \n")
    result = run("node", "run", home=node)
    assert result.exit_code == ExitCode.ERROR
    assert f"error: {node / 'config.toml'}: " in result.stderr
    assert (
        f"  unchanged: what the node holds; no node runs in this home\n  next: mend that line of {node}"
        in result.stderr
    )


def test_lost_settings_send_nobody_in_a_circle(home: Path, tmp_path: Path):
    """`node run` said to run `node join`, which refuses a home that belongs to a mesh and says to run `node run`."""
    node = joined(home, tmp_path / "m1")
    (node / "config.toml").unlink()
    result = run("node", "run", home=node)
    assert "config.toml is lost, though this home belongs to a mesh" in result.stderr
    assert 'restore it from a backup, or write it anew (agent = "NAME"' in result.stderr
    assert "node join" not in result.stderr


def test_a_port_that_is_taken_is_said_without_numbers_of_the_system(home: Path, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = joined(home, tmp_path / "m1", "--listen", f"127.0.0.1:{port}")
        result = run("node", "run", home=node)
    assert result.exit_code == ExitCode.ERROR
    assert "error: the node cannot run: the port is in use already\n  unchanged: " in result.stderr
    assert "next: stop what listens there, or choose another port; where it listens is in" in result.stderr
    assert "Errno" not in result.stderr.partition("\nerror: ")[2], "that is for the log"


def test_what_the_system_refuses_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch, home: Path):
    for number, says, helps in (
        (errno.EACCES, "/x/y: this user may not (permission denied)", "a place that this user may write to"),
        (errno.ENOSPC, "/x/y: the disk is full", "free some disk space"),
        (errno.ENOENT, "/x/y: there is no such file or directory", "check the path"),
    ):

        def broken(_shell: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number), "/x/y")

        monkeypatch.setattr("faramesh_cli.root_show.show_root", broken)
        result = run("root", "show", home=home)
        assert result.exit_code == ExitCode.ERROR
        assert f"error: {says}\n  unchanged: " in result.stderr
        assert helps in result.stderr


def test_a_home_that_cannot_be_made_says_why(tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = run("init", "acme", "--no-passphrase", home=tmp_path / "file" / "acme")
    assert result.exit_code == ExitCode.ERROR
    assert "[Errno" not in result.stderr
    assert "  unchanged: no mesh was made" in result.stderr
    assert "--home DIR names another place" in result.stderr


def test_a_cache_that_cannot_be_opened_is_no_fault_of_ours(home: Path):
    (home / "operator.sqlite").unlink(missing_ok=True)
    (home / "operator.sqlite").mkdir()
    for typed in (("enrol", "token", "--uses", "1", "--ttl", "1h"), ("fleet", "list")):
        result = run(*typed, home=home)
        assert result.exit_code == ExitCode.ERROR
        assert "operator.sqlite cannot be opened" in result.stderr
        assert "  unchanged: " in result.stderr
        assert "  next: see that the disk has room" in result.stderr


def test_every_error_says_what_is_unchanged_and_what_to_do_next():
    for path in sorted(Path(refusal.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            given = {each.arg for each in node.keywords}
            if node.func.id == "Refusal":
                assert {"unchanged", "todo"} <= given, f"{path.name}:{node.lineno}"
            if node.func.id == "misused":
                assert len(node.args) == 2, f"{path.name}:{node.lineno}"


def test_a_policy_that_does_not_compile_is_refused_before_anything_else(home: Path, tmp_path: Path):
    bad = tmp_path / "bad.fpl"
    bad.write_text("agent a {\n  default maybe\n}\n")
    result = run("fleet", "push", "--all", "--policy", str(bad), "--message", "x", home=home)
    assert result.exit_code == ExitCode.REFUSED
    assert f"error: {bad}:2:11: expected" in result.stderr
    assert "nothing was signed" in result.stderr


def test_no_node_to_ask_says_how_to_name_one(home: Path, policy: str):
    for typed in (("fleet", "list"), ("fleet", "push", "--all", "--policy", policy, "-m", "x")):
        result = run(*typed, home=home)
        assert result.exit_code == ExitCode.ERROR
        assert "no node to ask" in result.stderr
        assert "--peer HOST:PORT" in result.stderr


def test_a_node_that_does_not_answer_is_named(home: Path):
    result = run("--peer", "127.0.0.1:1", "fleet", "list", home=home)
    assert result.exit_code == ExitCode.ERROR
    assert "no node answers: 127.0.0.1:1: Connection refused; is the node running?" in result.stderr


def test_of_several_nodes_each_is_asked(home: Path):
    """`node info` asked the first alone."""
    result = run("--peer", "127.0.0.1:1,127.0.0.1:2", "node", "info", home=home)
    assert result.exit_code == ExitCode.ERROR
    assert "error: 127.0.0.1:1: Connection refused" in result.stderr
    assert "; 127.0.0.1:2: Connection refused" in result.stderr


def test_an_error_for_programs(home: Path):
    result = run("fleet", "list", "--format", "json", home=home)
    assert result.stdout == ""
    error = json.loads(result.stderr)
    assert error["schema"] == "faramesh-mesh/error/1"
    assert error["exit_code"] == 1
    assert error["next"]


def test_a_fault_of_ours_shows_no_traceback(monkeypatch: pytest.MonkeyPatch, home: Path):
    def broken(_shell: object) -> None:
        raise ZeroDivisionError("never")

    monkeypatch.setattr("faramesh_cli.root_show.show_root", broken)
    result = run("root", "show", home=home)
    assert result.exit_code == ExitCode.ERROR
    assert "this is a fault of ours: ZeroDivisionError: never" in result.stderr
    assert "FARAMESH_MESH_DEBUG=1" in result.stderr


def test_help_imports_nothing_heavy():
    """`--help` must be quick: what costs is imported when a command runs."""
    script = (
        "import sys; from faramesh_cli.main import app; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([name for name in ('trio', 'nacl', 'msgpack', 'msgspec', 'sqlite3', 'cryptography', 'rich', 'zeroconf') if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.strip() == "[]"


def test_the_version():
    assert run("--version").stdout.startswith("faramesh-mesh 0.")


def test_every_command_has_help_in_one_line_first():
    for typed in (
        ["fleet", "push"],
        ["fleet", "kill"],
        ["init"],
        ["node", "join"],
        ["enrol", "token"],
        ["decide"],
    ):
        result = CliRunner().invoke(app, [*typed, "--help"])
        assert result.exit_code == 0
        assert "--format" in result.stdout
