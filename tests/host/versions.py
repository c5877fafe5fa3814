"""Policy versions by number, and `enforce` for an agent called bot with everything else at its simplest."""

from collections.abc import Mapping

from faramesh_mesh.fleet.authority import Authority, Permitted, Version
from faramesh_mesh.host.enforce import Enforcement, enforce
from faramesh_mesh.host.engine import Engines
from faramesh_mesh.host.fpl.engine import MEDIA_TYPE, FplEngine
from faramesh_mesh.host.journal import HostJournal
from faramesh_mesh.host.policy_cache import PolicyCache
from faramesh_mesh.records.ids import Digest, RecordId

ENGINES = Engines([FplEngine()])
GOOD = b"agent bot { default permit }"
BAD = b"agent bot { default perhaps }"


def rid(number: int) -> RecordId:
    return RecordId(number.to_bytes(2) * 16)


def digest(number: int) -> Digest:
    return Digest(number.to_bytes(2) * 16)


def version(number: int, *, adopt: bool = True, trial: int = 0, rollout: int | None = None) -> Version:
    return Version(
        policy=rid(number),
        number=number,
        digest=digest(number),
        size=len(GOOD),
        media_type=MEDIA_TYPE,
        message=f"version {number}",
        rollout=rid(1_000 + (number if rollout is None else rollout)),
        epoch=number,
        stage=1,
        trial=trial,
        adopt=adopt,
    )


def chosen(
    authority: Authority,
    journal: HostJournal | None = None,
    *,
    ready: bool = True,
    now_ms: int = 0,
    bodies: Mapping[int, bytes] | None = None,
    cache: PolicyCache | None = None,
) -> Enforcement:
    held = dict.fromkeys(range(10), GOOD) if bodies is None else bodies
    return enforce(
        "bot",
        authority,
        HostJournal() if journal is None else journal,
        ready=ready,
        now_ms=now_ms,
        load=lambda wanted: held.get(wanted[1]),
        engines=ENGINES,
        cache=PolicyCache() if cache is None else cache,
    )


def permitted(*versions: Version) -> Permitted:
    return Permitted(versions, ())
