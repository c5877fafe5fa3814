"""`init`: a new mesh. Makes the keys, signs root version 1, and writes the operator's home."""

import os
from dataclasses import dataclass
from pathlib import Path

from faramesh_cli import keyring
from faramesh_cli.command import Shell
from faramesh_cli.homes import NODE, base, tilde
from faramesh_cli.output import Answer, now_ms
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.system_errors import what_failed, what_helps
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.envelope import root_signed_bytes, seal_root
from faramesh_mesh.records.ids import NO_MESH, NO_RECORD, fingerprint
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import RoleKey, Root
from faramesh_mesh.records.selector import EVERY, LABEL_VALUE
from faramesh_mesh.runtime.issuing import authority_certificate
from faramesh_mesh.runtime.operator_cache import OperatorHomeError
from faramesh_mesh.runtime.operator_home import MESH_FILE, OperatorHome, create_home
from faramesh_mesh.runtime.operator_keys import new_seed, seal_key
from faramesh_mesh.trust.keys import signer_from_seed

_OPERATOR = frozenset({Role.POLICY, Role.ROLLOUT, Role.KILL, Role.RESTORE})
_ENROL, _READER = frozenset({Role.ENROL}), frozenset({Role.READER})


@dataclass(frozen=True, slots=True)
class Profile:
    """Which keys a new mesh has and how many of them a decision needs. `warning` is said once, at the end."""

    keys: tuple[tuple[str, frozenset[Role]], ...]
    thresholds: tuple[tuple[Role, int], ...]
    warning: str

    def threshold(self, role: Role) -> int:
        """How many keys a record of this role needs; 1 where the profile does not say."""
        return dict(self.thresholds).get(role, 1)


PROFILES = {
    "starter": Profile(
        (("ops-1", _OPERATOR | {Role.ROOT}), ("enrol-1", _ENROL), ("reader-1", _READER)),
        (),
        "one key decides everything; for production: --profile production (2 of 3)",
    ),
    "production": Profile(
        (
            *((f"root-{number}", frozenset({Role.ROOT})) for number in (1, 2, 3)),
            *((f"ops-{number}", _OPERATOR) for number in (1, 2, 3)),
            ("enrol-1", _ENROL),
            ("reader-1", _READER),
        ),
        ((Role.ROOT, 2), (Role.POLICY, 2), (Role.ROLLOUT, 2), (Role.RESTORE, 2)),
        "all keys were made on this machine: hand ops-1 to ops-3 to three people, take root-1 to root-3 offline, and "
        "delete them here",
    ),
}


def init_mesh(shell: Shell, name: str, profile_name: str, no_passphrase: bool) -> Answer:
    """Make the mesh `name`."""
    if LABEL_VALUE.fullmatch(name) is None or "/" in name or name == NODE or len(name) > 64:
        raise misused(
            f"{name!r} cannot name a mesh",
            f"use letters, digits, dots and dashes, at most 64, and not {NODE!r}",
        )
    profile = PROFILES[profile_name]
    path = shell.home or base() / name
    _refuse_existing(path)
    passphrase = None if no_passphrase else keyring.ask_new_passphrase(shell)
    seeds = {key: new_seed() for key, _ in profile.keys}
    root = _signed_root(name, profile, seeds)
    if passphrase is not None:
        shell.terminal.progress("sealing the keys…")
    # A reader's key may only ask; sealing it would only teach people to type their passphrase for looking.
    files = [
        seal_key(key, seeds[key], None if roles == _READER else passphrase) for key, roles in profile.keys
    ]
    try:
        home = create_home(path, name, profile_name, root, files)
    except OperatorHomeError as error:
        raise Refusal(error.wrong, unchanged="nothing was made", todo=error.todo) from None
    except OSError as error:
        raise Refusal(
            what_failed(error),
            unchanged=f"no mesh was made; what was begun of it, if anything, lies in {path}",
            todo=f"{what_helps(error)}; --home DIR names another place",
        ) from None
    return _answer(home, profile, sealed=passphrase is not None)


def _refuse_existing(path: Path) -> None:
    if (path / MESH_FILE).exists():
        raise Refusal(
            f"{path} already holds a mesh",
            unchanged="that mesh and its keys",
            todo="choose another name, or another place with --home DIR",
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Refusal(
            f"{path} is not an empty folder",
            unchanged="everything in it",
            todo="choose another with --home DIR",
        )


def _signed_root(name: str, profile: Profile, seeds: dict[str, bytes]) -> bytes:
    signers = {key: signer_from_seed(seed) for key, seed in seeds.items()}
    document = Root(
        version=1,
        name=name,
        at=now_ms(),
        nonce=os.urandom(16),
        previous=NO_RECORD,
        keys=tuple(RoleKey(signers[key].public, key, roles, EVERY) for key, roles in profile.keys),
        thresholds=tuple((role, profile.threshold(role)) for role in sorted(Role)),
        authorities=tuple(
            authority_certificate(seeds[key]) for key, roles in profile.keys if Role.ENROL in roles
        ),
        extra=NO_EXTRA,
    )
    payload = document.encode()
    signatures = tuple(
        (signers[key].id, signers[key].sign(root_signed_bytes(payload, 1, NO_MESH, signers[key].id)))
        for key, roles in profile.keys
        if Role.ROOT in roles
    )
    return seal_root(payload, signatures)


def _answer(home: OperatorHome, profile: Profile, *, sealed: bool) -> Answer:
    keys = home.path / "keys"
    lines = [
        f"mesh {home.name}, fingerprint {fingerprint(home.mesh)}",
        f"  keys in {tilde(keys)}: {', '.join(name for name, _ in profile.keys)}",
        f"  back up {tilde(home.path)}: lost keys cannot be made again, and the journal there keeps their chains whole",
    ]
    warnings = [profile.warning]
    if not sealed:
        warnings.append(f"the keys have no passphrase: whoever reads {tilde(keys)} commands the fleet")
    lines += [f"  ! {warning}" for warning in warnings]
    return Answer(
        "init",
        {
            "mesh": home.mesh.hex(),
            "name": home.name,
            "fingerprint": fingerprint(home.mesh),
            "profile": home.profile,
            "home": str(home.path),
            "keys": [name for name, _ in profile.keys],
            "warnings": warnings,
        },
        lines,
        todo="faramesh-mesh enrol token --duty enrol --uses 1 --ttl 1h, then on the first machine: "
        "faramesh-mesh node join TOKEN",
    )
