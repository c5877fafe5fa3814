"""`enrol token`: a secret with which hosts enrol themselves, so many times, so long, with these labels."""

import os

from faramesh_cli.command import Shell
from faramesh_cli.homes import operator
from faramesh_cli.keyring import open_key
from faramesh_cli.output import Answer, instant, now_ms
from faramesh_cli.parsing import counted, duration_ms, labels, spell_ms
from faramesh_cli.refusal import Refusal, misused
from faramesh_mesh.records.enrolment import Duty
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.selector import LABEL_VALUE
from faramesh_mesh.runtime.addresses import AddressError, parse_address
from faramesh_mesh.runtime.operator_cache import OperatorHomeError
from faramesh_mesh.runtime.operator_home import OperatorHome
from faramesh_mesh.runtime.token import Terms, TokenError, format_token, issue_enroller_token, issue_token

_SEEDS = 3
"""Addresses that a token carries unless --seed says otherwise: two may be gone by the time it is used."""


def make_token(
    shell: Shell,
    *,
    uses: int,
    ttl: str,
    labels_given: list[str],
    line: str,
    seeds: list[str],
    duty: str | None,
    key: str | None,
) -> Answer:
    """Make a join token. With `duty` enrol it carries the enrol key itself."""
    lasting = duration_ms(ttl, "--ttl")
    pairs = labels(labels_given, "--label")
    carries_key = _duty(duty)
    if LABEL_VALUE.fullmatch(line) is None:
        raise misused(
            f"--line: {line!r} is not a name", "use letters, digits and ._:/@-, as in --line default"
        )
    if carries_key and uses != 1:
        raise misused(
            "a token with --duty enrol carries the enrol key and is for one machine: --uses 1",
            "the other machines get a token without --duty, good for as many as you like",
        )
    if carries_key and seeds:
        raise misused(
            "a token with --duty enrol carries no address: the first machine enrols itself and asks nobody",
            "leave --seed out; the other machines get a token without --duty",
        )
    home = operator(shell)
    held = open_key(shell, home, (Role.ENROL,), key)
    seed, expires = os.urandom(32), now_ms() + lasting
    terms = Terms(pairs, uses, expires, line, (Duty.ENROL,) if carries_key else ())
    known = () if carries_key else _addresses(seeds) or _known(home)
    try:
        if carries_key:
            token = issue_enroller_token(home.chain, held.seed, seed, terms)
        else:
            token = issue_token(home.mesh, held.signer, seed, terms, known)
    except TokenError as error:
        raise Refusal(
            str(error), unchanged="no token was made", todo="correct that, then run it again"
        ) from None
    if carries_key:
        shell.terminal.warn(
            "this token carries the enrol key: whoever sees it can enrol agents for as long as the root names that key; "
            "use it on one machine only"
        )
    elif not known:
        shell.terminal.warn(
            "no address of a node is known here, so this token carries none and cannot be used as it is: "
            "make another with --seed HOST:PORT, or name a node where it is used: node join TOKEN --seed HOST:PORT"
        )
    text = format_token(token)
    told = ", ".join(f"{name}={value}" for name, value in pairs) or "no labels"
    shell.terminal.progress(
        f"good for {counted(uses, 'agent')}, {spell_ms(lasting)}, {told}; a secret until then"
    )
    return Answer(
        "enrol-token",
        {
            "mesh": home.mesh.hex(),
            "token": text,
            "token_id": token.grant.id.hex(),
            "uses": uses,
            "expires": instant(expires),
            "labels": dict(pairs),
            "line": line,
            "carries_enrol_key": carries_key,
        },
        [text],
    )


def _duty(duty: str | None) -> bool:
    if duty is None:
        return False
    if duty != Duty.ENROL.value:
        raise misused(f"--duty: {duty!r} is not a duty", f"there is {Duty.ENROL.value}")
    return True


def _known(home: OperatorHome) -> tuple[str, ...]:
    """A few nodes that answered this operator before, so that the joiner needs no --seed."""
    try:
        with home.cache() as cache:
            return tuple(cache.peers()[:_SEEDS])
    except OperatorHomeError as error:
        raise Refusal(error.wrong, unchanged="no token was made", todo=error.todo) from None


def _addresses(seeds: list[str]) -> tuple[str, ...]:
    try:
        return tuple(str(parse_address(seed)) for seed in seeds)
    except AddressError as error:
        raise misused(f"--seed: {error}", "write it like m1:7420") from None
