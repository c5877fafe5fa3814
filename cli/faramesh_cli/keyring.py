"""Opening operators' keys: which key signs, and the passphrase that opens it."""

import getpass
import os
import sys
from dataclasses import dataclass

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.refusal import Refusal
from faramesh_cli.roles import spelled
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Root
from faramesh_mesh.runtime.operator_home import OperatorHome
from faramesh_mesh.runtime.operator_keys import KeyFile, KeyFileError, PassphraseError, read_key
from faramesh_mesh.trust.keys import Signer, signer_from_seed

VARIABLE = "FARAMESH_MESH_PASSPHRASE"
_MAX_STDIN = 4_096


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that is open, and what the root calls it."""

    name: str
    signer: Signer
    seed: bytes


def ask_new_passphrase(shell: Shell) -> str:
    """The passphrase for new keys: from the environment, or typed twice."""
    if given := os.environ.get(VARIABLE):
        return given
    if not shell.interactive:
        raise Refusal(
            "no passphrase for the new keys, and nobody is at the keyboard",
            unchanged="nothing was written",
            todo=f"set {VARIABLE}, or pass --no-passphrase for a mesh to try things out",
            exit_code=ExitCode.USAGE,
        )
    first = getpass.getpass("Passphrase for the new keys: ")
    if not first:
        raise Refusal("an empty passphrase", unchanged="nothing was written", todo="or pass --no-passphrase")
    if getpass.getpass("Once more: ") != first:
        raise Refusal(
            "the two passphrases differ",
            unchanged="nothing was written",
            todo="run it again and type one twice",
        )
    return first


def open_key(shell: Shell, home: OperatorHome, roles: tuple[Role, ...], wanted: str | None = None) -> HeldKey:
    """Open a key that has one of these roles: the one named `wanted` (`-` reads a key file from standard
    input), else one that needs no passphrase if there is one, and of several that with the most of these
    roles."""
    root = home.chain.current
    if wanted == "-":
        return _unlock(shell, _from_stdin(), root, roles)
    held = key_files(home)
    if wanted is not None:
        named = next((key for key in held if key.name == wanted), None)
        if named is None:
            raise Refusal(
                f"no key named {wanted} in {home.path / 'keys'}",
                unchanged="nothing was signed",
                todo=f"there are {', '.join(key.name for key in held) or 'none'}",
                exit_code=ExitCode.NOT_AUTHORISED,
            )
        return _unlock(shell, named, root, roles)
    able = [key for key in held if _may(root, key, roles)]
    if not able:
        raise Refusal(
            f"no key here has the role {spelled(roles)}",
            unchanged="nothing was signed",
            todo=f"run this where such a key lies, or pass --key -; keys here: {', '.join(key.name for key in held) or 'none'}",
            exit_code=ExitCode.NOT_AUTHORISED,
        )
    best = min(able, key=lambda key: (key.is_sealed, -sum(_may(root, key, (role,)) for role in roles)))
    return _unlock(shell, best, root, roles)


def unsealed_key(home: OperatorHome) -> HeldKey | None:
    """A key for asking only that needs no passphrase, a reader's before any other."""
    root = home.chain.current
    free = [key for key in key_files(home) if not key.is_sealed and _entry(root, key) is not None]
    if not free:
        return None
    best = min(free, key=lambda key: not _may(root, key, (Role.READER,)))
    seed = best.seed(None)
    return HeldKey(best.name, signer_from_seed(seed), seed)


def open_any_key(shell: Shell, home: OperatorHome) -> HeldKey:
    """Open a key for asking only, where all are sealed."""
    root = home.chain.current
    held = [key for key in key_files(home) if _entry(root, key) is not None]
    if not held:
        raise Refusal(
            f"no key of this mesh in {home.path / 'keys'}: a node answers over the network only to holders of one",
            unchanged="nothing was asked",
            todo="ask the node on this machine over its Unix socket: --peer unix:///…/control.sock",
            exit_code=ExitCode.NOT_AUTHORISED,
        )
    return _unlock(shell, held[0], root, ())


def key_files(home: OperatorHome) -> tuple[KeyFile, ...]:
    try:
        return home.key_files()
    except KeyFileError as error:
        raise Refusal(str(error), unchanged="nothing was signed", todo="restore it from a backup") from None


def _from_stdin() -> KeyFile:
    try:
        return read_key(sys.stdin.read(_MAX_STDIN))
    except KeyFileError as error:
        raise Refusal(
            f"--key -: {error}", unchanged="nothing was signed", todo="pipe a key file into the command"
        ) from None


def _entry(root: Root, key: KeyFile) -> frozenset[Role] | None:
    return next((one.roles for one in root.keys if one.public == key.public and one.cut is None), None)


def _may(root: Root, key: KeyFile, roles: tuple[Role, ...]) -> bool:
    return not (_entry(root, key) or frozenset()).isdisjoint(roles)


def _unlock(shell: Shell, key: KeyFile, root: Root, roles: tuple[Role, ...]) -> HeldKey:
    """Open a key that has one of these roles; none given: any key of the root."""
    named = _entry(root, key) is not None
    if not named or (roles and not _may(root, key, roles)):
        lacking = f"lacks the role {spelled(roles)}" if named else "is not named by the root, or was retired"
        raise Refusal(
            f"key {key.name} {lacking}",
            unchanged="nothing was signed",
            todo="choose another with --key NAME; faramesh-mesh root show says who may sign what",
            exit_code=ExitCode.NOT_AUTHORISED,
        )
    passphrase = None
    if key.is_sealed:
        passphrase = os.environ.get(VARIABLE)
        if passphrase is None:
            if not shell.interactive:
                raise Refusal(
                    f"key {key.name} is sealed and nobody is at the keyboard to open it",
                    unchanged="nothing was signed",
                    todo=f"set {VARIABLE}",
                    exit_code=ExitCode.NOT_AUTHORISED,
                )
            passphrase = getpass.getpass(f"Passphrase for {key.name}: ")
    try:
        seed = key.seed(passphrase)
    except PassphraseError:
        raise Refusal(
            f"the passphrase does not open key {key.name}",
            unchanged="nothing was signed",
            todo=f"try it again; {VARIABLE} is taken where it is set, and asked for where it is not",
            exit_code=ExitCode.NOT_AUTHORISED,
        ) from None
    except KeyFileError as error:
        raise Refusal(str(error), unchanged="nothing was signed", todo="restore it from a backup") from None
    return HeldKey(key.name, signer_from_seed(seed), seed)
