"""What the demo claims, as functions over what was recorded. Each can fail, says what it saw, and touches nothing."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

PERMIT, DENY = "permit", "deny"


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer of an agent's enforcement point to one tool call. `at` is in seconds of the run's clock; `policy` and
    `record` are hex ids, empty for none."""

    at: float
    effect: str
    policy: str = ""
    record: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A claim, whether it held, and what was seen either way."""

    claim: str
    held: bool
    saw: str


Claim: TypeAlias = Callable[[], Check]
"""A check over what is known when it is called."""

Answers: TypeAlias = Mapping[str, Seen]
"""The last answer of each agent."""


def lists_everybody(listed: Collection[str], enrolled: Collection[str], regions: int) -> Check:
    """A node picked at random knows every agent."""
    missing = sorted(set(enrolled) - set(listed))
    return Check(
        "any node lists the whole fleet",
        not missing and len(listed) == len(enrolled),
        f"{len(listed)} of {len(enrolled)} agents in {regions} regions" + _names(", missing", missing),
    )


def denies_without_policy(answers: Answers, agents: Collection[str]) -> Check:
    """Before any policy is pushed nothing is permitted."""
    others = [agent for agent in sorted(agents) if agent not in answers or answers[agent].effect != DENY]
    return Check(
        "before the first policy every agent denies",
        not others,
        f"{len(agents) - len(others)} of {len(agents)} deny" + _names(", but not", others),
    )


def only_these_decide(
    answers: Answers, cohort: Collection[str], agents: Collection[str], policy: str
) -> Check:
    """The cohort decides by the policy and permits what it permits; nobody else does."""
    inside = [agent for agent in sorted(agents) if _decides(answers.get(agent), policy)]
    early = [agent for agent in inside if agent not in cohort]
    missing = sorted(set(cohort) - set(inside))
    return Check(
        "only the canary decides by the new policy"
        if len(cohort) < len(agents)
        else "all decide by the new policy",
        not early and not missing and bool(cohort),
        f"{len(inside)} of {len(agents)} decide by it"
        + _names(", too early", early)
        + _names(", not yet", missing),
    )


def _decides(seen: Seen | None, policy: str) -> bool:
    return seen is not None and seen.effect == PERMIT and seen.policy == policy


def denied_by(answers: Answers, killed: Collection[str], kill: str) -> Check:
    """Each agent that was killed denies, and names this kill as the reason."""
    free = [agent for agent in sorted(killed) if agent not in answers or not _denied(answers[agent], kill)]
    return Check(
        "the killed agents deny, by that kill",
        not free and bool(killed),
        f"{len(killed) - len(free)} of {len(killed)} deny by {_short(kill)}" + _names(", but not", free),
    )


def _denied(seen: Seen, kill: str) -> bool:
    return seen.effect == DENY and seen.record == kill


def still_permits(answers: Answers, others: Collection[str]) -> Check:
    """A kill touches nobody else: the rest of the fleet goes on."""
    stopped = [agent for agent in sorted(others) if agent not in answers or answers[agent].effect != PERMIT]
    return Check(
        "the others go on",
        not stopped and bool(others),
        f"{len(others) - len(stopped)} of {len(others)} permit" + _names(", stopped", stopped),
    )


def cannot_know(answers: Answers, agent: str) -> Check:
    """What is in force elsewhere has not arrived behind a cut: the agent there goes on, as it must."""
    seen = answers.get(agent)
    return Check(
        "the agent behind the cut cannot know yet",
        seen is not None and seen.effect == PERMIT,
        f"{agent} is silent" if seen is None else f"{agent} answers {seen.effect}",
    )


def suspects_partition(suspected: bool, reachable: object, roster: object) -> Check:
    """The fleet's list says that a region is missing, and for how much of the fleet it speaks."""
    return Check(
        "fleet list says that a partition is likely",
        suspected,
        f"heard {reachable} of {roster} agents" + ("" if suspected else ", and suspects nothing"),
    )


def nothing_lost(before: Collection[str], held: Mapping[str, Collection[str]]) -> Check:
    """Every record that was acknowledged before a node died is held by each that is left."""
    lacking = {node: len(set(before) - set(ids)) for node, ids in held.items() if not set(before) <= set(ids)}
    return Check(
        "nothing is lost with the node first spoken to",
        not lacking and bool(held) and bool(before),
        f"all {len(before)} records at {len(held) - len(lacking)} of {len(held)} nodes left"
        + _names(", lacking some:", sorted(lacking)),
    )


def is_cut(before: Mapping[str, str], after: Mapping[str, str], behind: Collection[str]) -> Check:
    """While the region is cut, what was issued elsewhere has not reached it: its nodes still have the old fingerprint, and
    all others have left it behind."""
    leaked = [node for node in sorted(behind) if after.get(node) != before.get(node)]
    others = sorted(set(after) - set(behind))
    stale = [node for node in others if after[node] == before.get(node)]
    return Check(
        "nothing crosses the cut",
        not leaked and not stale and bool(behind) and bool(others),
        f"{len(behind) - len(leaked)} of {len(behind)} nodes behind it know nothing new, {len(others) - len(stale)} of "
        f"{len(others)} others do" + _names(", leaked to", leaked),
    )


def are_equal(fingerprints: Mapping[str, str], nodes: Collection[str]) -> Check:
    """All nodes hold the same set of records."""
    different = len(set(fingerprints.values()))
    silent = sorted(set(nodes) - set(fingerprints))
    return Check(
        "all nodes hold the same records",
        different == 1 and not silent,
        f"{len(fingerprints)} nodes, {different} fingerprint{'' if different == 1 else 's'}"
        + _names(", silent", silent),
    )


def denied_from_the_start(answers: Sequence[Seen], kill: str) -> Check:
    """An agent that was restarted never permitted, and in the end denies by its old kill."""
    permits = sum(seen.effect == PERMIT for seen in answers)
    by_kill = bool(answers) and _denied(answers[-1], kill)
    return Check(
        "a killed agent that restarts is still denied",
        permits == 0 and by_kill,
        f"{len(answers)} calls after the restart, {permits} permitted, "
        + (f"denied by {_short(kill)}" if by_kill else "but not denied by the kill"),
    )


def never_permitted_again(histories: Mapping[str, Sequence[Seen]], kills: Mapping[str, str]) -> Check:
    """From its first denial by a kill on, no agent permitted a single call."""
    again = []
    calls = 0
    for agent, kill in kills.items():
        history = histories.get(agent, ())
        first = next((at for at, seen in enumerate(history) if _denied(seen, kill)), None)
        after = () if first is None else history[first:]
        calls += len(after)
        if first is None or any(seen.effect == PERMIT for seen in after):
            again.append(agent)
    return Check(
        "no killed agent permitted a call again",
        not again and bool(kills),
        f"{calls} calls of {len(kills)} killed agents denied" + _names(", but not all of", again),
    )


def all_ended(codes: Mapping[str, int]) -> Check:
    """Every node ended when asked to, cleanly."""
    unclean = [f"{name} ({code})" for name, code in sorted(codes.items()) if code != 0]
    return Check(
        "every process has ended, cleanly",
        not unclean and bool(codes),
        f"{len(codes) - len(unclean)} of {len(codes)} ended with 0" + _names(", but", unclean),
    )


def answered(name: str, code: int, expected: int, said: str) -> Check:
    """A command ended with the exit code that tells the truth."""
    return Check(
        f"{name} tells the truth, exit code {int(expected)}",
        code == expected,
        said if code == expected else f"exit code {int(code)}: {said}",
    )


def _names(prefix: str, names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return ""
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"{prefix} {', '.join(listed[:3])}{more}"


def _short(kill: str) -> str:
    return f"k-{kill[:8]}"
