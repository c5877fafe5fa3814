"""A plan and its policy as somebody sees them who has not made them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import unified_diff

from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_list import policy_name
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import some
from faramesh_cli.output import columns
from faramesh_cli.parsing import counted
from faramesh_cli.planning import base_of
from faramesh_cli.refusal import Refusal
from faramesh_cli.standing import name_of
from faramesh_mesh.fleet.fleet import RolloutView
from faramesh_mesh.host.engine import Engines, Unloadable
from faramesh_mesh.host.fpl.engine import FplEngine
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rollout import Rollout


def body(known: Knowledge, record: Record, policy: Policy) -> bytes:
    """The text of a policy. Refuses one that has not come, and one that no agent could run."""
    body = known.bodies.get(policy.digest)
    if body is None:
        raise unseen(f"the text of {policy_name(known, record.id)} has not come")
    compiled = Engines((FplEngine(),)).compile(policy.media_type, body)
    if isinstance(compiled, Unloadable):
        raise Refusal(
            f"{policy_name(known, record.id)} does not compile: {compiled.reason}",
            unchanged="nothing was signed",
            todo="have it corrected and pushed anew; agents would refuse it and keep what they run",
            exit_code=ExitCode.REFUSED,
        )
    return body


def policy_lines(known: Knowledge, record: Record, policy: Policy) -> Iterator[str]:
    """The policy, and how it differs from what its line runs: whatever the plan says that it is based on."""
    new = _lines(body(known, record, policy))
    name = policy_name(known, record.id)
    base = base_of(known, policy.line)
    before = None if base is None else known.records.get(base)
    old = known.bodies.get(before.payload.digest) if before and isinstance(before.payload, Policy) else None
    yield f'{name} "{policy.message}" compiles'
    if base is None or old is None:
        yield f"  its text, {counted(len(new), 'line')} (nothing is known to run on the line {policy.line}):"
        yield from (f"  + {line}" for line in new)
        return
    changed = list(unified_diff(_lines(old), new, lineterm="", n=1))[2:]
    told = "against" if changed else "the same text as"
    yield f"  {told} {policy_name(known, base)}, which the line {policy.line} runs{':' if changed else ''}"
    yield from (f"  {line[0]} {line[1:]}" for line in changed if not line.startswith("@@"))


def _lines(body: bytes) -> list[str]:
    return body.decode(errors="replace").splitlines()


def lifted(known: Knowledge, rollout: Rollout) -> Iterator[str]:
    live = {view.record.id: view.agents for view in known.fleet.kills()}
    for lifted in rollout.lifts:
        kill = known.records.get(lifted)
        if kill is None or not isinstance(kill.payload, Kill):
            yield f"lifts a kill that is not held: {lifted.hex()[:16]}"
            continue
        by = name_of(known, kill.key)
        yield f'lifts {kill.short} "{kill.payload.reason}" by {by}: denies {some(live.get(lifted, ())) or "nobody"} now'


def replaced(known: Knowledge, rollout: Rollout) -> Iterator[str]:
    for one in rollout.supersedes:
        view = known.fleet.rollout(one)
        if view is not None:
            yield f'replaces {view.record.short} "{view.rollout.message}" ({view.status.value} {view.stage}/{view.stages})'


def stages(known: Knowledge, view: RolloutView) -> Iterator[str]:
    """Whom each stage reaches: by the roster that was signed, and the regions that the agents are enrolled in."""
    region = {each.enrolment.agent: each.enrolment.region for each in known.enrolled()}
    totals = Counter(region.get(agent, "-") for agent in view.roster)
    rows = []
    for stage, size in enumerate(view.rollout.stages, start=1):
        reached = Counter(region.get(agent, "-") for agent in view.roster[:size])
        shares = (f"{reached[name]} of {totals[name]}" for name in sorted(totals))
        rows.append(
            [f"{stage}{' open' if stage <= view.stage else ''}", f"{size} of {len(view.roster)}", *shares]
        )
    yield from columns(("STAGE", "AGENTS", *(name.upper() for name in sorted(totals))), rows)
    first = view.rollout.stages[0]
    yield f"canary: {some(view.roster[:first])}"
    if first == len(view.roster) > 1:
        yield "! no canary: the first stage is everybody"


def running(known: Knowledge, agents: Iterable[str]) -> str:
    """What these agents attest that they run."""
    found: Counter[str] = Counter()
    for agent in agents:
        report = known.report(agent)
        if report is None:
            found["not heard"] += 1
        elif known.fleet.kills_of(agent):
            found["killed"] += 1
        else:
            found["denying" if report.policy is None else f"on {policy_name(known, report.policy)}"] += 1
    return ", ".join(f"{count} {what}" for what, count in found.most_common())


def unseen(wrong: str) -> Refusal:
    return Refusal(
        f"{wrong}, so that nobody can look at what would be signed",
        unchanged="nothing was signed",
        todo="ask another node with --peer HOST:PORT",
        exit_code=ExitCode.REFUSED,
    )
