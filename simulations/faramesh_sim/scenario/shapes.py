"""The tables of a scenario file: which keys each has, what they mean in the model, and how they are written.

One table of fields serves the loader, the writer and the documentation, so none of them can know a key that another does not.
"""

from dataclasses import MISSING, dataclass, fields
from typing import Any

from faramesh_sim import faults, ops
from faramesh_sim.scenario import model
from faramesh_sim.scenario.forms import (
    COUNT,
    DELAY,
    DURATION,
    FLAG,
    INTEGER,
    MILLISECONDS,
    NAME,
    NAMES,
    ON_ABORT,
    SHARE,
    SHIFT_MS,
    STAGES,
    TARGET,
    TEXT,
    TEXTS,
    Form,
    one_of,
    some_of,
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table: the attribute of the model that it fills, how it is written, and what it means. `needed`: it has no
    default."""

    key: str
    attribute: str
    form: Form[Any]
    says: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: the word that tells it from others of its list (the verb of an operation, the kind of a fault), the class it
    becomes, its keys."""

    word: str
    makes: type[Any]
    keys: tuple[Key, ...]
    says: str


_AT = Key("at", "at", DURATION, "when, from the end of the warm-up", needed=True)
_VIA = Key("via", "via", TARGET, "the machine that the operator speaks to")
_BY = Key("by", "by", NAMES, "the keys that sign; the first signs, the others cosign")
_COMMON = (_AT, _VIA, _BY)
_PLAN_KEYS = (
    Key("line", "line", NAME, "the policy line"),
    Key("policy", "policy", TEXT, "the policy's text; made up where it is missing"),
    Key("stages", "stages", STAGES, "shares or counts of agents, cumulative"),
)

OPS: tuple[Shape, ...] = (
    Shape(
        "push",
        ops.Push,
        (
            *_COMMON,
            Key("push", "name", NAME, "what other operations call the plan", needed=True),
            Key("selector", "selector", TEXT, "whom it is for"),
            *_PLAN_KEYS,
            Key("on_abort", "on_abort", ON_ABORT, "what its agents run if it is aborted"),
            Key("supersedes", "supersedes", NAMES, "plans that it replaces"),
            Key("pin", "pin", DURATION, "it holds its agents off their line for so long"),
        ),
        "publish a policy and roll it out; stage 1 opens at once",
    ),
    Shape(
        "promote",
        ops.Promote,
        (
            *_COMMON,
            Key("promote", "plan", NAME, "the plan", needed=True),
            Key("to", "to", COUNT, "the stage up to which it is opened; the next one where it is missing"),
        ),
        "open the next stage",
    ),
    Shape(
        "kill",
        ops.KillAgents,
        (
            *_COMMON,
            Key("kill", "selector", TEXT, "an agent, or a selector", needed=True),
            Key("name", "name", NAME, "what restores and reports call it", needed=True),
            Key("tools", "tools", TEXTS, "only calls of tools that match"),
        ),
        "stop agents",
    ),
    Shape(
        "restore",
        ops.Restore,
        (
            *_COMMON,
            Key("restore", "kills", NAMES, "the kills that it lifts", needed=True),
            Key("name", "name", NAME, "what other operations call it", needed=True),
            *_PLAN_KEYS,
            Key("same_policy", "same_policy", FLAG, "affirm a policy of before the kill"),
            Key("reuse", "reuse", NAME, "the plan whose policy it brings again, instead of a new one"),
        ),
        "lift kills, by stages, with a corrected policy",
    ),
    Shape(
        "abort", ops.AbortPlan, (*_COMMON, Key("abort", "plan", NAME, "the plan", needed=True)), "end a plan"
    ),
    Shape(
        "hold", ops.HoldPlan, (*_COMMON, Key("hold", "plan", NAME, "the plan", needed=True)), "freeze a plan"
    ),
    Shape(
        "release",
        ops.ReleasePlan,
        (*_COMMON, Key("release", "plan", NAME, "the plan", needed=True)),
        "lift the holds of a plan",
    ),
    Shape(
        "join",
        ops.Join,
        (
            *_COMMON,
            Key("join", "count", COUNT, "how many", needed=True),
            Key("region", "region", NAME, "where", needed=True),
        ),
        "new hosts join at once",
    ),
    Shape(
        "revoke",
        ops.RevokeAgent,
        (*_COMMON, Key("revoke", "agent", NAME, "the agent", needed=True)),
        "end an enrolment",
    ),
    Shape(
        "revoke_key",
        ops.RevokeKey,
        (*_COMMON, Key("revoke_key", "key", NAME, "the key", needed=True)),
        "cut a key's chain where the operator sees it end",
    ),
    Shape(
        "rotate_root",
        ops.RotateRoot,
        (*_COMMON, Key("rotate_root", "", FLAG, "true", needed=True)),
        "publish the next root",
    ),
)

_FOR = Key("for", "lasts", DURATION, "how long", needed=True)
_NODES = Key("nodes", "nodes", TARGET, "which machines", needed=True)
_SPAN = (_AT, _FOR)
_SIDES = (
    Key("from", "a", TARGET, "one side", needed=True),
    Key("to", "b", TARGET, "the other side", needed=True),
    Key("oneway", "oneway", FLAG, "only what goes from `from` to `to`"),
)

FAULTS: tuple[Shape, ...] = (
    Shape(
        "partition",
        faults.Partition,
        (
            *_SPAN,
            *_SIDES,
            Key("reset", "reset", FLAG, "connections break, instead of falling silent"),
            Key("flap", "flap", DURATION, "it comes and goes, so long each time"),
        ),
        "nothing passes between two sides",
    ),
    Shape(
        "impair",
        faults.Impair,
        (
            *_SPAN,
            *_SIDES,
            Key("extra", "extra", DELAY, "a delay on top"),
            Key("loss", "loss", SHARE, "segments that TCP sends again"),
            Key("bandwidth", "bandwidth", COUNT, "bytes a second of a connection"),
            Key("broken", "broken", SHARE, "frames that arrive spoilt: TLS ends the connection"),
            Key("dropped", "dropped", SHARE, "frames that a broken proxy loses"),
            Key("doubled", "doubled", SHARE, "frames that it sends twice"),
            Key("swapped", "swapped", SHARE, "frames that it lets others overtake"),
        ),
        "what passes between two sides is made worse",
    ),
    Shape(
        "crash",
        faults.Crash,
        (
            *_SPAN,
            _NODES,
            Key(
                "disk",
                "disk",
                one_of(faults.DiskFate),
                "what is left of the disk; the last one that holds anything of the mesh is not wiped",
            ),
            Key("graceful", "graceful", FLAG, "stopped in order"),
        ),
        "processes are killed, and started again after `for`",
    ),
    Shape(
        "churn",
        faults.Churn,
        (
            *_SPAN,
            _NODES,
            Key("every", "every", DURATION, "how often one is killed", needed=True),
            Key("down", "down", DURATION, "how long it is down", needed=True),
        ),
        "one after the other is killed",
    ),
    Shape(
        "hang",
        faults.Hang,
        (*_SPAN, _NODES, Key("host", "host", FLAG, "the whole host is suspended, its agents too")),
        "processes take nothing in",
    ),
    Shape(
        "slow",
        faults.Slow,
        (*_SPAN, _NODES, Key("cost", "cost", DURATION, "processor time of each event", needed=True)),
        "processes are slow",
    ),
    Shape(
        "clock",
        faults.Clock,
        (
            *_SPAN,
            _NODES,
            Key("jump", "jump_ms", SHIFT_MS, "the wall clock is set by so much, and back at the end"),
            Key("drift_ppm", "drift_ppm", INTEGER, "both clocks run so many millionths too fast"),
        ),
        "clocks are wrong",
    ),
    Shape(
        "disk",
        faults.BadDisk,
        (
            *_SPAN,
            _NODES,
            Key("full", "full", FLAG, "nothing can be written"),
            Key("fsync", "fsync", DURATION, "what a transaction takes"),
        ),
        "disks are full or slow",
    ),
    Shape("lapse", faults.Lapse, (*_SPAN, _NODES), "certificates have run out"),
    Shape(
        "hostile",
        faults.Hostile,
        (
            _AT,
            _NODES,
            Key("does", "does", some_of(faults.Hostility), "what they do", needed=True),
            Key("with_key", "with_key", NAME, "a stolen role key with which they sign"),
        ),
        "machines turn hostile, for good",
    ),
)

SIM: tuple[Key, ...] = (
    Key("chaos", "chaos", DURATION, "when operations and faults happen"),
    Key("settle", "settle", DURATION, "then everything heals, and must be equal after so long"),
    Key("warmup", "warmup", DURATION, "before time 0: the fleet starts and finds itself"),
    Key("base", "base", FLAG, "whether a complete policy runs before anything happens"),
    Key("clock_skew", "clock_skew", MILLISECONDS, "how far off wall clocks are"),
    Key("reporting", "reporting", SHARE, "the share of nodes that sign statuses"),
    Key("seed", "seed", COUNT, "the seed where the command names none"),
)

NET: tuple[Key, ...] = (
    Key("near", "near", DELAY, "the delay within a region"),
    Key("far", "far", DELAY, "the delay between two regions"),
    Key("loss", "loss", SHARE, "segments that TCP sends again"),
    Key("bandwidth", "bandwidth", COUNT, "bytes a second of a connection, 0 for no limit"),
)

EXPECT: tuple[Key, ...] = (
    Key(
        "kill_everywhere",
        "kill_everywhere",
        DURATION,
        "each kill denies everywhere after so long, or after the last heal",
    ),
    Key("converge", "converge", DURATION, "all hold the same so long after the last heal"),
    Key("blast_radius", "blast_radius", SHARE, "the share of the fleet that incomplete plans may reach"),
    Key("denied", "denied", TEXTS, "agents that are denied at the end"),
    Key("marks", "marks", TEXTS, "states that the run must have come through"),
)


def defaults(shape: type[Any]) -> dict[str, Any]:
    """The default of each attribute of a dataclass that has one."""
    found = {}
    for each in fields(shape):
        if each.default is not MISSING:
            found[each.name] = each.default
        elif each.default_factory is not MISSING:
            found[each.name] = each.default_factory()
    return found


MODEL_DEFAULTS = defaults(model.Scenario)
