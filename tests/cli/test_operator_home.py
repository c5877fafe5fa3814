"""The operator's home: sealed keys, the pin, a journal that no crash can fork."""

import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import workshop

from faramesh_cli.command import Shell
from faramesh_cli.drafts import vote_draft
from faramesh_cli.keyring import HeldKey
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.output import Terminal
from faramesh_cli.peers import Identity
from faramesh_cli.session import Session, load
from faramesh_mesh.records.ids import Digest
from faramesh_mesh.runtime.operator_cache import Held, OperatorHomeError
from faramesh_mesh.runtime.operator_home import OperatorHome, create_home, open_home
from faramesh_mesh.runtime.operator_keys import KeyFileError, PassphraseError, new_seed, read_key, seal_key
from faramesh_mesh.state.authoring import NO_CHAIN, ChainEnd

CHEAP = {"operations": 1, "memory": 8_192}
"""The least that argon2id takes: tests are about what is sealed, not about what it costs."""


def made(path: Path) -> OperatorHome:
    root = workshop.seal(
        workshop.root(workshop.starter_keys()),
        workshop.chain_of(workshop.root(workshop.starter_keys())).mesh,
        ("ops",),
    )
    return create_home(path, "test", "starter", root, [seal_key("ops-1", new_seed(), None)])


def test_a_sealed_key_opens_with_its_passphrase_only():
    seed = new_seed()
    key = read_key(seal_key("ops-1", seed, "correct horse", **CHEAP).encode())
    assert key.seed("correct horse") == seed
    assert seed not in key.secret
    for wrong in ("Correct horse", "", None):
        with pytest.raises(PassphraseError):
            key.seed(wrong)


def test_a_key_file_whose_halves_do_not_belong_together_is_refused():
    text = seal_key("a", new_seed(), None).encode()
    other = seal_key("a", new_seed(), None)
    with pytest.raises(KeyFileError):
        read_key(text.replace(read_key(text).public.hex(), other.public.hex())).seed(None)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other"}', "\x00"])
def test_what_is_no_key_file_is_refused(text: str):
    with pytest.raises(KeyFileError):
        read_key(text)


def test_a_key_file_cannot_ask_for_endless_work():
    text = seal_key("a", new_seed(), "x", **CHEAP).encode()
    with pytest.raises(KeyFileError):
        read_key(text.replace('"memory": 8192', '"memory": 99999999999'))


def test_a_home_opens_as_it_was_made_and_only_its_owner_may_read_it(tmp_path: Path):
    home = made(tmp_path / "acme")
    assert open_home(tmp_path / "acme") == home
    for path in (tmp_path / "acme").rglob("*"):
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path


def test_a_home_is_never_made_over_another(tmp_path: Path):
    made(tmp_path / "acme")
    before = sorted((path, path.read_bytes()) for path in (tmp_path / "acme").rglob("*") if path.is_file())
    with pytest.raises(OperatorHomeError):
        made(tmp_path / "acme")
    assert before == sorted(
        (path, path.read_bytes()) for path in (tmp_path / "acme").rglob("*") if path.is_file()
    )


def test_a_root_that_does_not_match_the_pin_is_refused(tmp_path: Path):
    home = made(tmp_path / "acme")
    file = home.path / "mesh.json"
    file.write_text(file.read_text().replace(home.mesh.hex(), "00" * 32))
    with pytest.raises(OperatorHomeError, match="not a valid next root"):
        open_home(home.path)


def test_what_was_signed_is_journalled_and_waits_in_the_outbox(tmp_path: Path):
    home, shop = made(tmp_path / "acme"), workshop.Workshop()
    policy = shop.policy()
    body = {Digest(policy.payload.digest): b"body"}
    with home.cache() as cache:
        assert cache.journalled(policy.key) == NO_CHAIN
        cache.sign((policy,), body)
    with home.cache() as cache:
        assert cache.journalled(policy.key) == ChainEnd(1, policy.id)
        assert cache.outbox() == [Held(policy.id, policy.envelope)]
        assert cache.bodies() == body
        cache.sent([policy.id])
        assert cache.outbox() == []
        assert cache.journalled(policy.key) == ChainEnd(1, policy.id)


def test_the_newest_status_of_each_node_is_kept(tmp_path: Path):
    home, node = made(tmp_path / "acme"), workshop.node_signer("a").id
    with home.cache() as cache:
        cache.keep_statuses({node: b"older"})
        cache.keep_statuses({node: b"newer"})
    with home.cache() as cache:
        assert cache.statuses() == [b"newer"]


def test_a_record_that_would_fork_a_chain_never_reaches_the_outbox(tmp_path: Path):
    home, shop = made(tmp_path / "acme"), workshop.Workshop()
    first = shop.kill("instance=a")
    other = shop.fork(first, "ops", reason="another")
    with home.cache() as cache:
        cache.sign((first,), {})
        with pytest.raises(ValueError, match="fork"):
            cache.sign((other,), {})
        assert [held.id for held in cache.outbox()] == [first.id]


def test_signing_is_all_or_nothing(tmp_path: Path):
    home, shop = made(tmp_path / "acme"), workshop.Workshop()
    first, second = shop.kill("instance=a"), shop.kill("instance=b")
    with home.cache() as cache:
        with pytest.raises(ValueError, match="fork"):
            cache.sign((second, first), {})
        assert cache.outbox() == []
        assert cache.journalled(first.key) == NO_CHAIN


def test_a_damaged_database_says_what_to_do(tmp_path: Path):
    home = made(tmp_path / "acme")
    (home.path / "operator.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(OperatorHomeError, match="backup"):
        home.cache()


def test_a_cached_record_that_was_damaged_is_dropped_and_comes_again_with_the_next_pull(tmp_path: Path):
    home, shop = made(tmp_path / "acme"), workshop.Workshop()
    kill, other = shop.kill("instance=a", reason="first"), shop.kill("instance=b", reason="second")
    damaged = kill.envelope.replace(b"first", b"fi-st")
    with home.cache() as cache:
        cache.keep([Held(kill.id, damaged), Held(other.id, other.envelope)], {}, {})
        known = Knowledge.under(shop.chain)
        load(cache, known)
        assert [record.id for record in known.records.in_order()] == [other.id]
        assert [held.id for held in cache.records()] == [other.id]


def test_signing_twice_in_one_command_goes_on_from_what_another_command_journalled(tmp_path: Path):
    """The record that the other command signed is not held here: the chain goes on from the journal all the same."""
    home, shop = made(tmp_path / "acme"), workshop.Workshop()
    elsewhere = shop.policy()
    key = HeldKey("ops", workshop.signer("ops"), b"")
    with home.cache() as cache:
        cache.sign([elsewhere], {})
        known = Knowledge.under(shop.chain)
        identity = Identity(home.mesh, home, key, None)
        session = Session(Shell(Terminal()), identity, known, None, cache, True, AsyncExitStack())  # type: ignore[arg-type]
        first, second = session.sign([vote_draft(elsewhere.id, 1), vote_draft(elsewhere.id, 2)])
    assert [elsewhere.head.seq, first.head.seq, second.head.seq] == [1, 2, 3]
    assert (first.head.prev, second.head.prev) == (elsewhere.id, first.id)
