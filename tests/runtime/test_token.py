"""Join tokens: what survives the trip, what is refused and with which advice, and what a token never carries."""

from dataclasses import replace
from hashlib import sha256

import pytest
import workshop
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.records.enrolment import Duty
from faramesh_mesh.records.ids import NO_MESH, MeshId, key_id
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.runtime.token import (
    Terms,
    Token,
    TokenError,
    decode_grant,
    encode_grant,
    first_chain,
    format_token,
    grant_issuer,
    issue_enroller_token,
    issue_token,
    parse_token,
)
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import signer_from_seed, verify

CHAIN = workshop.chain_of(workshop.root(workshop.starter_keys()))
ENROL_SEED = sha256(b"test key enrol").digest()
TERMS = Terms((("region", "lab"), ("team", "refunds")), 3, workshop.START + 3_600_000)
ENROLLER_TERMS = replace(TERMS, duties=(Duty.ENROL,))


def token(terms: Terms = TERMS, seed: bytes = b"t" * 32, seeds: tuple[str, ...] = ()) -> Token:
    return issue_token(CHAIN.mesh, workshop.signer("enrol"), seed, terms, seeds)


names = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)


@given(
    st.binary(min_size=32, max_size=32),
    st.dictionaries(names.filter(lambda name: name != "instance"), names, max_size=5),
    st.integers(1, 100_000),
    st.integers(0, 1 << 62),
    names,
    st.lists(names.map(lambda name: f"{name}:7420"), max_size=3),
)
def test_any_token_survives_the_trip_and_its_grant_holds(
    seed: bytes, labels: dict[str, str], uses: int, expires: int, line: str, seeds: list[str]
) -> None:
    made = token(Terms(tuple(sorted(labels.items())), uses, expires, line), seed, tuple(seeds))
    text = format_token(made)
    assert parse_token(f"  {text}\n") == made
    issuer = grant_issuer(made.grant, CHAIN, verify)
    assert issuer is not None
    assert issuer.name == "enrol"
    assert decode_grant(encode_grant(made.grant)) == made.grant
    assert made.grant.id == key_id(signer_from_seed(seed).public)


def test_a_token_shows_its_mesh() -> None:
    assert format_token(token()).startswith(f"fmj1.{CHAIN.mesh.hex()[:16]}.")


def test_a_token_carries_an_enrol_key_only_with_the_duty() -> None:
    plain = format_token(token())
    assert parse_token(plain).enrol_seed is None
    assert parse_token(plain).roots == ()
    with pytest.raises(TokenError, match="duty enrol"):
        issue_enroller_token(CHAIN, ENROL_SEED, b"t" * 32, TERMS)
    carried = parse_token(format_token(issue_enroller_token(CHAIN, ENROL_SEED, b"t" * 32, ENROLLER_TERMS)))
    assert carried.enrol_seed == ENROL_SEED
    assert first_chain(carried, verify) == CHAIN


@given(st.data())
def test_a_token_that_was_changed_or_cut_is_refused(data: st.DataObject) -> None:
    text = format_token(token())
    at = data.draw(st.integers(5, len(text) - 1))
    letter = data.draw(st.sampled_from("abcXYZ019-_. é"))
    for bad in (text[:at], text[:at] + letter + text[at + 1 :]):
        if bad != text:
            try:
                assert parse_token(bad) == parse_token(text)  # unused bits of the last letter
            except TokenError:
                continue
            assert at == len(text) - 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a join token"),
        ("hello", "not a join token"),
        ("fmj2.abc.def", "another version"),
        ("fmj1.", "copy all of it"),
        ("fmj1.7f3c91ab02dee204", "copy all of it"),
        ("fmj1.7f3c91ab02dee204.AAAA", "copy all of it"),
        ("fmj1." + "A" * 6_000_000, "too long"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(text: str, says: str) -> None:
    with pytest.raises(TokenError, match=says):
        parse_token(text)


def test_two_halves_of_two_tokens_are_refused() -> None:
    other = format_token(replace(token(), mesh=MeshId(b"m" * 32)))
    mixed = ".".join((*format_token(token()).split(".")[:2], other.split(".")[2]))
    with pytest.raises(TokenError, match="names another mesh"):
        parse_token(mixed)


def test_a_grant_for_another_token_key_is_refused() -> None:
    stolen = replace(token(), seed=b"x" * 32)
    with pytest.raises(TokenError, match="for another token"):
        parse_token(format_token(stolen))


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, uses=0),
        replace(TERMS, uses=100_001),
        replace(TERMS, line="no line"),
        replace(TERMS, labels=(("instance", "x"),)),
        replace(TERMS, labels=(("b", "1"), ("a", "1"))),
        replace(TERMS, labels=(("a", "no value"),)),
    ],
)
def test_terms_beyond_limits_are_refused_when_the_token_is_made(terms: Terms) -> None:
    with pytest.raises(TokenError):
        token(terms)


def test_a_seed_address_must_be_one() -> None:
    with pytest.raises(TokenError, match="seeds"):
        token(seeds=("m1:port",))


class TestGrant:
    @pytest.mark.parametrize(
        "change",
        [
            {"terms": replace(TERMS, uses=4)},
            {"terms": replace(TERMS, expires_ms=TERMS.expires_ms + 1)},
            {"terms": replace(TERMS, labels=(("region", "prod"),))},
            {"terms": replace(TERMS, line="other")},
            {"terms": ENROLLER_TERMS},
            {"token_public": workshop.signer("thief").public},
            {"issuer": workshop.signer("ops").id},
            {"signature": bytes(64)},
        ],
    )
    def test_not_a_word_of_it_can_be_changed(self, change: dict[str, object]) -> None:
        assert grant_issuer(replace(token().grant, **change), CHAIN, verify) is None  # type: ignore[arg-type]

    def test_it_holds_in_its_own_mesh_only(self) -> None:
        other = workshop.chain_of(workshop.root(workshop.starter_keys(), name="other"))
        assert grant_issuer(token().grant, other, verify) is None

    def test_a_key_without_the_role_cannot_make_one(self) -> None:
        forged = issue_token(CHAIN.mesh, workshop.signer("ops"), b"t" * 32, TERMS)
        assert grant_issuer(forged.grant, CHAIN, verify) is None
        stranger = issue_token(CHAIN.mesh, workshop.signer("stranger"), b"t" * 32, TERMS)
        assert grant_issuer(stranger.grant, CHAIN, verify) is None

    def test_a_retired_key_s_grants_are_void(self) -> None:
        second = workshop.root(
            (
                workshop.role_key("ops", workshop.OPERATOR),
                workshop.role_key("enrol", workshop.ENROLLER, cut=Cut(0, bytes(32))),  # type: ignore[arg-type]
                workshop.role_key("enrol 2", frozenset({Role.ENROL})),
            ),
            version=2,
            previous=CHAIN.ids[0],
        )
        rotated = CHAIN.extend(workshop.seal(second, CHAIN.mesh, ("ops",)), verify)
        assert isinstance(rotated, RootChain), rotated
        assert grant_issuer(token().grant, CHAIN, verify) is not None
        assert grant_issuer(token().grant, rotated, verify) is None

    @given(st.binary(max_size=300))
    def test_garbage_is_malformed_and_nothing_else(self, data: bytes) -> None:
        with pytest.raises(Malformed):
            decode_grant(data)


class TestFirstChain:
    def test_a_plain_token_says_what_is_missing(self) -> None:
        with pytest.raises(TokenError, match=r"--seed HOST:PORT.*--duty enrol"):
            first_chain(token(), verify)

    def test_a_chain_of_another_mesh_is_refused(self) -> None:
        other = workshop.seal(workshop.root(workshop.starter_keys(), name="other"), NO_MESH, ("ops",))
        made = issue_enroller_token(CHAIN, ENROL_SEED, b"t" * 32, ENROLLER_TERMS)
        with pytest.raises(TokenError, match="root chain"):
            first_chain(replace(made, roots=(other,)), verify)
