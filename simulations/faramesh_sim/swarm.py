"""The swarm: a random scenario from a seed, each with a random subset of all that can happen.

After Groce et al., "Swarm testing" (ISSTA 2012): runs that each leave most features out find more than runs that mix all of
them, because features hide each other. Here a seed draws which kinds of faults and operations its run has at all, and then
when, where and how often. What operators do stays possible: they refer to plans and kills that were asked for before.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.gossip.rng import Rng, SplitMix64
from faramesh_mesh.records.rollout import OnAbort
from faramesh_sim.delays import Delay, Dist
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.faults import (
    BadDisk,
    Churn,
    Clock,
    Crash,
    DiskFate,
    Fault,
    Hang,
    Hostile,
    Hostility,
    Impair,
    Lapse,
    Partition,
    Slow,
)
from faramesh_sim.inventory import made_up
from faramesh_sim.mesh import KILLER, KeySpec, Profile
from faramesh_sim.operator import Stages
from faramesh_sim.ops import (
    AbortPlan,
    HoldPlan,
    Join,
    KillAgents,
    Op,
    Promote,
    Push,
    ReleasePlan,
    Restore,
    RevokeAgent,
    RotateRoot,
)
from faramesh_sim.scenario.model import Expect, Net, Scenario, Trust
from faramesh_sim.targets import Target, parse_target

CHAOS = 40 * SECOND
SETTLE = 40 * SECOND
REGIONS = ("eu", "us", "ap", "sa")
HOUR_MS = 3_600_000

_DIRECTED = ("canaries", "sole-holder", "acknowledged", "entry", "syncing", "killed")


_ANYBODY = parse_target("random:1")
"""Who a story speaks to: somebody there always is, while for the host of a killed agent one may wait until the story is over."""


def draw(seed: int, nodes: int = 30, chaos: Nanoseconds = CHAOS, settle: Nanoseconds = SETTLE) -> Scenario:
    """The scenario of a seed. The same on every machine."""
    return _Draw(SplitMix64(seed).stream("swarm"), nodes, chaos).scenario(seed, settle)


@dataclass(slots=True)
class _Draw:
    """One scenario being drawn. `plans`, `kills`: what was asked for so far, by name, and when; `faults`: those that belong to a story."""

    rng: Rng
    nodes: int
    chaos: Nanoseconds
    by: tuple[str, ...] = ("ops",)
    regions: tuple[tuple[str, int], ...] = ()
    plans: dict[str, Nanoseconds] = field(default_factory=dict)
    kills: dict[str, Nanoseconds] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    made: int = 0

    def scenario(self, seed: int, settle: Nanoseconds) -> Scenario:
        rng = self.rng
        self.regions = self._draw_regions()
        profile = rng.choice((Profile.STARTER, Profile.STARTER, Profile.PRODUCTION))
        self.by = ("ops",) if profile is Profile.STARTER else ("ops", "ops2")
        ops = self._ops()
        faults = self.faults + self._faults()
        scoped = KeySpec("killer-" + self.regions[0][0], KILLER, f"region={self.regions[0][0]}")
        return Scenario(
            name=f"swarm-{seed}",
            title=f"swarm, seed {seed}",
            fleet=made_up(self.regions),
            chaos=self.chaos,
            settle=settle,
            clock_skew=rng.choice((0, 0, 500, 5_000)),
            net=self._net(),
            trust=Trust(profile, (scoped,)),
            ops=tuple(sorted(ops, key=lambda op: op.at)),
            faults=tuple(sorted(faults, key=lambda fault: fault.at)),
            expect=Expect(kill_everywhere=30 * SECOND, converge=35 * SECOND),
            seed=seed,
        )

    def _draw_regions(self) -> tuple[tuple[str, int], ...]:
        count = self.rng.uniform(1, len(REGIONS))
        sizes = [1] * count
        for _ in range(self.nodes - count):
            sizes[self.rng.below(count)] += 1
        return tuple(zip(REGIONS, sizes, strict=False))

    def _net(self) -> Net:
        rng = self.rng
        far = rng.choice(
            (
                Delay(Dist.LOGNORMAL, 40 * MILLISECOND, 120 * MILLISECOND),
                Delay(Dist.LOGNORMAL, 90 * MILLISECOND, 900 * MILLISECOND),
                Delay(Dist.FIXED, 50 * MILLISECOND),
                Delay(Dist.EXPONENTIAL, 30 * MILLISECOND),
                Delay(Dist.UNIFORM, 60 * MILLISECOND),
            )
        )
        return Net(far=far, loss=rng.choice((0, 0, 0, 10_000, 50_000)))

    # Whom, when

    def _at(self) -> Nanoseconds:
        """Whole tenths of a second: ties are wanted."""
        return self.rng.below(self.chaos * 9 // 10 // (SECOND // 10)) * (SECOND // 10)

    def _early(self) -> Nanoseconds:
        """Before much else has happened: plans hold each other up, and who is killed runs nothing."""
        return self.rng.below(80) * (SECOND // 10)

    def _after(self, at: Nanoseconds) -> Nanoseconds:
        """Some seconds after something was asked for, mostly: what comes before it is refused as unknown, which is soon tried."""
        if self.rng.below(4) == 0:
            return self._at()
        return min(at + self.rng.uniform(5, 150) * (SECOND // 10), self.chaos)

    def _plan(self) -> tuple[str, Nanoseconds]:
        """A plan that was asked for, and when."""
        return self.rng.choice(list(self.plans.items()))

    def _lasts(self) -> Nanoseconds:
        return self.rng.choice((1, 3, 6, 10, 20)) * SECOND

    def _target(self) -> Target:
        rng = self.rng
        match rng.below(8):
            case 0 | 1 | 2:
                return parse_target(rng.choice(_DIRECTED))
            case 3 | 4:
                return parse_target(rng.choice(self.regions)[0])
            case 5:
                return parse_target("label:service=" + rng.choice(("billing", "search", "support")))
            case 6:
                return parse_target(f"random:{rng.choice((20, 40, 60))}%")
            case _:
                return parse_target(f"random:{rng.uniform(1, 4)}")

    def _via(self) -> Target:
        return parse_target(
            self.rng.choice(("random:1", "random:1", self.rng.choice(self.regions)[0], "canaries", "killed"))
        )

    def _signers(self) -> tuple[str, ...]:
        """Those who must sign; now and then one of them forgets."""
        return self.by if self.rng.below(4) else self.by[:1]

    def _agent(self) -> str:
        return self.rng.choice(made_up(self.regions)).name

    # What operators do

    def _ops(self) -> list[Op]:
        rng = self.rng
        makers: list[Callable[[], list[Op]]] = [
            self._push,
            self._push,
            self._promote,
            self._promote,
            self._kill,
            self._kill,
            self._restore,
            self._abort,
            self._hold,
            self._release,
            self._double_push,
            self._supersede,
            self._kill_and_restore,
            self._join,
            self._revoke_agent,
            self._rotate,
            self._pin,
        ]
        chosen = rng.sample(makers, rng.uniform(4, 9))
        ops: list[Op] = self._push()
        for _ in range(rng.uniform(3, 12)):
            ops += rng.choice(chosen)()
        # What chance alone draws in one scenario of fifty: each of these is in every seventh or so.
        classics = [
            self._supersede,
            self._abort_what_runs,
            self._hold_what_opens,
            self._release_one_of_two_holds,
            self._restore_as_before,
            self._steal_what_granted,
        ]
        if self.nodes > 2:
            classics += [self._hear_only_what_permits, self._steal_on_two_sides]
        if len(self.by) > 1:
            classics += [self._vote_twice, self._restore_alone]
        return ops + rng.choice(classics)()

    def _name(self, letter: str) -> str:
        self.made += 1
        return f"{letter}{self.made}"

    def _push(self) -> list[Op]:
        rng = self.rng
        name = self._name("r")
        at = self._at()
        older: tuple[str, ...] = ()
        if self.plans and rng.below(3) == 0:
            known, since = self._plan()
            at, older = self._after(since), (known,)
        self.plans[name] = at
        selector = rng.choice(("*", "*", f"region={rng.choice(self.regions)[0]}", "service=billing"))
        stages = rng.choice((Stages(), Stages((1_000, 5_000, 10_000)), Stages((500, 10_000))))
        push = Push(
            at,
            self._via(),
            self._signers(),
            name,
            selector,
            stages=stages,
            on_abort=rng.choice((OnAbort.REVERT, OnAbort.HOLD, OnAbort.DENY)),
            supersedes=older,
        )
        follow: list[Op] = [
            Promote(min(at + (step + 1) * rng.uniform(2, 8) * SECOND, self.chaos), self._via(), self.by, name)
            for step in range(rng.below(4))
        ]
        later = min(at + rng.uniform(3, 20) * SECOND, self.chaos)
        match rng.below(8):
            case 0:
                follow.append(AbortPlan(later, self._via(), ("ops2",), name))
            case 1 | 2:
                # Held, then promoted all the same: whoever has not adopted it must not.
                follow.append(HoldPlan(later, self._via(), ("ops2",), name))
                follow.append(Promote(min(later + 2 * SECOND, self.chaos), self._via(), self.by, name))
            case _:
                pass
        return [push, *follow]

    def _pin(self) -> list[Op]:
        name = self._name("p")
        at = self.plans[name] = self._at()
        pin = self.rng.uniform(5, 30) * SECOND
        return [Push(at, self._via(), self.by, name, self._agent(), pin=pin)]

    def _double_push(self) -> list[Op]:
        """Two people at once, on two sides if there is a cut."""
        at = self._at()
        one, two = self._name("r"), self._name("r")
        self.plans |= {one: at, two: at}
        other = ("ops2",) if len(self.by) == 1 else ("ops2", "ops3")
        return [
            Push(at, self._via(), self.by, one),
            Push(at + self.rng.below(2) * SECOND, self._via(), other, two),
        ]

    def _promote(self) -> list[Op]:
        if not self.plans:
            return []
        plan, since = self._plan()
        to = self.rng.choice((0, 0, 0, 4))
        promote = Promote(self._after(since), self._via(), self._signers(), plan, to)
        # Typed again, because nothing seemed to happen: a key that votes twice counts once.
        again = min(promote.at + 2 * SECOND, self.chaos)
        return [promote, replace(promote, at=again)] if self.rng.below(3) == 0 else [promote]

    def _supersede(self) -> list[Op]:
        """One replaces a plan while another opens its last stages, on two sides if there is a cut."""
        rng = self.rng
        old, new = self._name("r"), self._name("r")
        at = self._at()
        later = min(at + rng.uniform(2, 8) * SECOND, self.chaos)
        self.plans |= {old: at, new: later}
        here, there = (region for region, _ in rng.sample([*self.regions, *self.regions[:1]], 2))
        return [
            Push(at, self._via(), self.by, old, stages=rng.choice((Stages(), Stages((1_000, 10_000))))),
            Push(later, parse_target(here), self.by, new, supersedes=(old,)),
            Promote(later, parse_target(there), self.by, old, rng.choice((0, 4))),
        ]

    def _kill(self) -> list[Op]:
        rng = self.rng
        name = self._name("k")
        at = self.kills[name] = self._at()
        selector = rng.choice(
            (
                self._agent(),
                self._agent(),
                f"region={rng.choice(self.regions)[0]}",
                "service=billing",
                "service!=search",
            )
        )
        by = rng.choice(("killer", "ops", "ops3", f"killer-{self.regions[0][0]}"))
        tools = rng.choice(((), (), (), ("sim/*",)))
        return [KillAgents(at, self._via(), (by,), name, selector, tools)]

    def _restore(self) -> list[Op]:
        if not self.kills:
            return self._kill()
        rng = self.rng
        name = self._name("s")
        kills = tuple(rng.sample(list(self.kills), rng.uniform(1, min(3, len(self.kills)))))
        stages = rng.choice((Stages((10_000,)), Stages((2_000, 10_000))))
        at = self.plans[name] = self._after(max(self.kills[kill] for kill in kills))
        same = bool(rng.below(3) == 0)
        reuse = rng.choice(("", "", "base"))
        return [
            Restore(
                at, self._via(), self._signers(), name, kills, same_policy=same, reuse=reuse, stages=stages
            ),
            Promote(min(at + rng.uniform(2, 8) * SECOND, self.chaos), self._via(), self.by, name),
        ]

    def _abort_what_runs(self) -> list[Op]:
        """One person stops a plan that half of the fleet runs: one key is enough, and where the plan says so nobody falls back."""
        rng = self.rng
        plan = self._name("r")
        at = self.plans[plan] = self._at()
        later = min(at + rng.uniform(4, 10) * SECOND, self.chaos)
        falls = rng.choice((OnAbort.DENY, OnAbort.DENY, OnAbort.HOLD, OnAbort.REVERT))
        return [
            Push(at, _ANYBODY, self.by, plan, stages=Stages((5_000, 10_000)), on_abort=falls),
            AbortPlan(later, _ANYBODY, (rng.choice(("ops", "ops2")),), plan),
        ]

    def _hold_what_opens(self) -> list[Op]:
        """One opens a stage and another holds it in the same moment: on some host the hold comes while the adoption is written."""
        plan = self._name("r")
        at = self.plans[plan] = self._at()
        later = min(at + self.rng.uniform(2, 8) * SECOND, self.chaos)
        return [
            Push(at, _ANYBODY, self.by, plan, stages=Stages((1_000, 10_000))),
            Promote(later, _ANYBODY, self.by, plan),
            HoldPlan(later, _ANYBODY, ("ops2",), plan),
        ]

    def _release_one_of_two_holds(self) -> list[Op]:
        """One releases a plan in the moment in which another holds it again: the second hold must stand."""
        plan = self._name("r")
        at = self.plans[plan] = self._at()
        held = min(at + self.rng.uniform(2, 5) * SECOND, self.chaos)
        later = min(held + 3 * SECOND, self.chaos)
        return [
            Push(at, _ANYBODY, self.by, plan, stages=Stages((1_000, 10_000))),
            HoldPlan(held, _ANYBODY, ("ops2",), plan),
            ReleasePlan(later, _ANYBODY, self.by, plan),
            HoldPlan(later, _ANYBODY, ("ops3",), plan),
            Promote(min(later + 2 * SECOND, self.chaos), _ANYBODY, self.by, plan),
        ]

    def _vote_twice(self) -> list[Op]:
        """One of those who must open a stage together opens it twice, alone."""
        plan = self._name("r")
        at = self.plans[plan] = self._early()
        first, again = (min(at + after * SECOND, self.chaos) for after in (3, 6))
        return [
            Push(at, _ANYBODY, self.by, plan, stages=Stages((1_000, 10_000))),
            Promote(first, _ANYBODY, self.by[:1], plan),
            Promote(again, _ANYBODY, self.by[:1], plan),
        ]

    def _hear_only_what_permits(self) -> list[Op]:
        """All that one host hears for a while comes from one that passes on everything but restrictions: a plan, and not the kill that its
        signer had seen."""
        deaf, liar, other = (each.name for each in self.rng.sample(made_up(self.regions), 3))
        plan, kill = self._name("r"), self._name("k")
        at = self._early()
        via = parse_target(other)
        killed, pushed, promoted = (min(at + after * SECOND, self.chaos) for after in (2, 3, 4))
        self.plans[plan], self.kills[kill] = pushed, killed
        others = parse_target(f"label:instance!={liar}")
        self.faults += [
            Hostile(at, parse_target(liar), (Hostility.SELECT,)),
            Partition(at + SECOND, 8 * SECOND, parse_target(deaf), others, reset=True),
        ]
        return [
            KillAgents(killed, via, self.by[:1], kill, other),
            Push(pushed, via, self.by, plan, stages=Stages((5_000, 10_000))),
            Promote(promoted, via, self.by, plan),
        ]

    def _steal_what_granted(self) -> list[Op]:
        """Forks of what an operator signed void a plan that half of the fleet runs: nobody may fall back to what was before."""
        plan = self._name("r")
        at = self.plans[plan] = self._early()
        thief = parse_target(self._agent())
        self.faults.append(Hostile(min(at + 4 * SECOND, self.chaos), thief, (Hostility.REPLAY,), self.by[0]))
        return [Push(at, _ANYBODY, self.by, plan, stages=Stages((5_000, 10_000)))]

    def _steal_on_two_sides(self) -> list[Op]:
        """A kill key is stolen, and used on either side of a cut: each gets more forks of one number than anybody keeps, and not the same."""
        rng = self.rng
        kill = self._name("k")
        at = self.kills[kill] = self._early()
        here, there, *others = (each.name for each in rng.sample(made_up(self.regions), self.nodes))
        half = parse_target(f"label:instance in ({','.join([here, *others[: self.nodes // 2 - 1]])})")
        thieves = parse_target(f"label:instance in ({here},{there})")
        self.faults += [
            Hostile(at + SECOND, thieves, (Hostility.REPLAY,), "killer"),
            Partition(at + 2 * SECOND, 20 * SECOND, half, parse_target("rest")),
        ]
        return [KillAgents(at, _ANYBODY, ("killer",), kill, self._agent())]

    def _restore_as_before(self) -> list[Op]:
        """Somebody restores with the policy that the agent was killed for, and does not affirm it: the kill must stay."""
        return self._kill_then_restore(self.by, same_policy=False)

    def _restore_alone(self) -> list[Op]:
        """One of those who must restore together does it alone."""
        return self._kill_then_restore(self.by[:1], same_policy=True)

    def _kill_then_restore(self, by: tuple[str, ...], *, same_policy: bool) -> list[Op]:
        kill, plan = self._name("k"), self._name("s")
        at = self.kills[kill] = self._at()
        later = self.plans[plan] = min(at + self.rng.uniform(2, 6) * SECOND, self.chaos)
        everybody = Stages((10_000,))
        return [
            KillAgents(at, _ANYBODY, ("killer",), kill, self._agent()),
            Restore(
                later, _ANYBODY, by, plan, (kill,), same_policy=same_policy, reuse="base", stages=everybody
            ),
        ]

    def _kill_and_restore(self) -> list[Op]:
        """One lifts the kill while another kills again: the second kill must stay."""
        agent = self._agent()
        one, two, plan = self._name("k"), self._name("k"), self._name("s")
        at = self._at()
        later = min(at + self.rng.uniform(2, 6) * SECOND, self.chaos)
        self.kills |= {one: at, two: later}
        self.plans[plan] = later
        return [
            KillAgents(at, self._via(), ("killer",), one, agent),
            Restore(later, self._via(), self.by, plan, (one,), stages=Stages((10_000,))),
            KillAgents(later, self._via(), ("ops3",), two, agent),
        ]

    def _abort(self) -> list[Op]:
        if not self.plans:
            return []
        by = (self.rng.choice(("ops", "ops2")),)
        plan, since = self._plan()
        return [AbortPlan(self._after(since), self._via(), by, plan)]

    def _hold(self) -> list[Op]:
        if not self.plans:
            return []
        plan, since = self._plan()
        return [HoldPlan(self._after(since), self._via(), ("ops2",), plan)]

    def _release(self) -> list[Op]:
        if not self.plans:
            return []
        plan, since = self._plan()
        return [ReleasePlan(self._after(since), self._via(), self.by, plan)]

    def _join(self) -> list[Op]:
        region = self.rng.choice(self.regions)[0]
        return [Join(self._at(), self._via(), ("enrol",), region, self.rng.choice((1, 1, 3, 6)))]

    def _revoke_agent(self) -> list[Op]:
        return [RevokeAgent(self._at(), self._via(), ("enrol",), self._agent())]

    def _rotate(self) -> list[Op]:
        return [RotateRoot(self._at(), self._via(), self.by)]

    # What goes wrong

    def _faults(self) -> list[Fault]:
        rng = self.rng
        makers: list[Callable[[], Fault]] = [
            self._partition,
            self._partition,
            self._partition,
            self._partition,
            self._impair,
            self._crash,
            self._crash,
            self._churn,
            self._hang,
            self._slow,
            self._clock,
            self._bad_disk,
            self._lapse,
        ]
        chosen = rng.sample(makers, rng.uniform(1, 5))
        faults = [rng.choice(chosen)() for _ in range(rng.uniform(1, 7))]
        if rng.below(4) == 0:
            faults.append(self._hostile())
        return faults

    def _partition(self) -> Fault:
        rng = self.rng
        a = self._target()
        b = rng.choice((parse_target("rest"), parse_target("rest"), self._target()))
        return Partition(
            self._at(),
            self._lasts(),
            a,
            b,
            oneway=rng.below(4) == 0,
            reset=rng.below(3) == 0,
            flap=rng.choice((0, 0, 0, SECOND, 4 * SECOND)),
        )

    def _impair(self) -> Fault:
        rng = self.rng
        base = Impair(self._at(), self._lasts(), self._target(), parse_target(rng.choice(("all", "rest"))))
        return rng.choice(
            (
                replace(base, extra=Delay(Dist.EXPONENTIAL, 400 * MILLISECOND)),
                replace(base, loss=200_000),
                replace(base, bandwidth=8_000),
                replace(base, broken=2_000),
                replace(base, dropped=20_000),
                replace(base, doubled=50_000),
                replace(base, swapped=50_000),
            )
        )

    def _crash(self) -> Fault:
        rng = self.rng
        fates = (
            DiskFate.KEPT,
            DiskFate.KEPT,
            DiskFate.APPLIED,
            DiskFate.LOST,
            DiskFate.OLDER,
            DiskFate.DAMAGED,
            DiskFate.WIPED,
        )
        return Crash(self._at(), self._lasts(), self._target(), rng.choice(fates), graceful=rng.below(5) == 0)

    def _churn(self) -> Fault:
        rng = self.rng
        every = rng.choice((500 * MILLISECOND, 2 * SECOND))
        return Churn(self._at(), self._lasts(), self._target(), every, rng.uniform(1, 8) * SECOND)

    def _hang(self) -> Fault:
        return Hang(self._at(), self._lasts(), self._target(), host=self.rng.below(3) == 0)

    def _slow(self) -> Fault:
        cost = self.rng.choice((MILLISECOND, 5 * MILLISECOND, 20 * MILLISECOND))
        return Slow(self._at(), self._lasts(), self._target(), cost)

    def _clock(self) -> Fault:
        rng = self.rng
        jump = rng.choice((-24 * HOUR_MS, -HOUR_MS, -5_000, 5_000, HOUR_MS, 365 * 24 * HOUR_MS))
        return Clock(self._at(), self._lasts(), self._target(), jump, rng.choice((0, 200, -200, 50_000)))

    def _bad_disk(self) -> Fault:
        full = bool(self.rng.below(2))
        return BadDisk(self._at(), self._lasts(), self._target(), full, 0 if full else SECOND)

    def _lapse(self) -> Fault:
        return Lapse(self._at(), self._lasts(), self._target())

    def _hostile(self) -> Fault:
        rng = self.rng
        does = tuple(sorted(rng.sample(list(Hostility), rng.uniform(1, 3))))
        key = rng.choice(("", "", "", "killer"))
        return Hostile(self._at(), parse_target(f"random:{rng.choice((10, 20, 33))}%"), does, key)
