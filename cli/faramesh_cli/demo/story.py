"""The story: canary, all, kill, a lost node, a cut region, a restart. Each step types real commands and checks what is seen."""

from collections.abc import Callable

import trio

from faramesh_cli.demo import checks
from faramesh_cli.demo.lab import POLICY, Agent, CommandFailedError, Lab, Typed, joining_at_once
from faramesh_cli.demo.report import Reporter, Step
from faramesh_cli.exits import ExitCode

WITHIN = 30.0
"""Seconds that a change may take to be seen. Far above what is expected: the times are reported, the checks are about what."""


SOME_CALLS = 5
"""Calls of a restarted agent before the check is over: the first ones may meet a node that has not yet synced."""


class Story:
    """One run. The steps share who is who: the node spoken to, the canary, the killed."""

    def __init__(self, lab: Lab, report: Reporter) -> None:
        self._lab = lab
        self._report = report
        self._spoken_to: Agent
        self._rollout = ""
        self._policy = ""
        self._killed: dict[str, str] = {}

    async def tell(self) -> None:
        """All steps in order. A failed check does not end the story; a command that cannot run does."""
        for step in (
            self._found_a_mesh,
            self._list_from_anywhere,
            self._push_to_a_canary,
            self._promote_to_all,
            self._kill_one,
            self._kill_a_region,
            self._lose_the_node_spoken_to,
            self._cut_kill_and_heal,
            self._restart_a_killed_agent,
            self._end,
        ):
            await step()
            self._lab.check_alive()

    @property
    def _names(self) -> list[str]:
        return [agent.name for agent in self._lab.agents]

    @property
    def _running(self) -> list[Agent]:
        running = set(self._lab.processes.names())
        return [agent for agent in self._lab.agents if agent.name in running]

    def _free(self) -> list[str]:
        """The agents that run and were not killed."""
        return [agent.name for agent in self._running if agent.name not in self._killed]

    async def _until(self, *wanted: "checks.Claim") -> list[checks.Check]:
        """Wait until all of these hold, then what was seen, whether or not they do."""
        await self._lab.until(lambda: all(claim().held for claim in wanted), WITHIN)
        return [claim() for claim in wanted]

    def _answers(self) -> checks.Answers:
        return self._lab.callers.latest

    def _held_by(self, killed: list[str], kill: str) -> "checks.Claim":
        return lambda: checks.denied_by(self._answers(), killed, kill)

    async def _found_a_mesh(self) -> None:
        lab = self._lab
        count = len(lab.agents)
        with self._report.step(f"a mesh of {count} nodes in {len(lab.regions)} regions") as step:
            await lab.open_relays()
            founded = await lab.operator("init", "demo", "--no-passphrase")
            step.typed = founded.line
            first, *others = lab.agents
            token = await self._token(first.region, 1, "--duty", "enrol")
            await lab.join(first, token)
            lab.run(first)
            await lab.until(lambda: first.name in self._answers(), WITHIN)
            self._report.doing(f"{count - 1} more join, each with its region's token")
            tokens = {
                region: await self._token(region, len(lab.of(region)), "--seed", first.address)
                for region in lab.regions
            }
            limit = trio.CapacityLimiter(joining_at_once())

            failed: list[CommandFailedError] = []

            async def join(agent: Agent) -> None:
                async with limit:
                    try:
                        await lab.join(agent, tokens[agent.region])
                    except CommandFailedError as error:
                        failed.append(error)
                    else:
                        lab.run(agent)

            async with trio.open_nursery() as nursery:
                for agent in others:
                    nursery.start_soon(join, agent)
            if failed:
                raise failed[0]
            step.checks += await self._until(
                lambda: checks.denies_without_policy(self._answers(), self._names),
                lambda: checks.are_equal(lab.callers.fingerprints, self._names),
            )

    async def _token(self, region: str, uses: int, *more: str) -> str:
        made = await self._lab.operator(
            "enrol", "token", "--uses", str(uses), "--ttl", "1h", "--label", f"region={region}", *more
        )
        return made.text("token")

    async def _list_from_anywhere(self) -> None:
        lab = self._lab
        with self._report.step("list the fleet from a random node") as step:
            peer = lab.pick(lab.agents)
            listed = await self._listed_until(peer, lambda seen: seen.code == 0)
            step.typed = listed.line
            step.checks.append(checks.lists_everybody(_instances(listed), self._names, len(lab.regions)))
            step.checks.append(
                checks.answered("fleet list", listed.code, ExitCode.DONE, "every agent was heard")
            )

    async def _listed_until(self, peer: Agent, wanted: Callable[[Typed], bool]) -> Typed:
        """List again and again until it says so: what nodes hear of each other takes its time."""
        listed = await self._listed(peer)
        with trio.move_on_after(WITHIN):
            while not wanted(listed):
                listed = await self._listed(peer)
        return listed

    async def _listed(self, peer: Agent) -> Typed:
        return await self._lab.operator("fleet", "list", peers=[peer])

    async def _push_to_a_canary(self) -> None:
        lab = self._lab
        home_region = lab.of(lab.regions[0])
        self._spoken_to = lab.pick(home_region[1:])
        policy = lab.folder / "refunds.fpl"
        policy.write_text(POLICY)
        with self._report.step("push a policy to a canary") as step:
            count = len(lab.agents)
            pushed = await lab.operator(
                "fleet", "push", "--all", "--policy", str(policy), "--message", "cap refunds at 100",
                "--stages", f"1,{count}", "--confirm-count", str(count), peers=[self._spoken_to],
            )  # fmt: skip
            step.typed = pushed.line
            self._rollout = pushed.text("rollout_short")
            cohort = pushed.texts("cohort")
            await lab.until(lambda: any(seen.policy for seen in self._answers().values()), WITHIN)
            self._policy = next((seen.policy for seen in self._answers().values() if seen.policy), "")
            step.checks += await self._until(
                lambda: checks.only_these_decide(self._answers(), cohort, self._names, self._policy)
            )

    async def _promote_to_all(self) -> None:
        lab = self._lab
        with self._report.step("promote it to all") as step:
            began = lab.now()
            promoted = await lab.operator("fleet", "promote", self._rollout, peers=[self._spoken_to])
            step.typed = promoted.line
            step.checks += await self._until(
                lambda: checks.only_these_decide(self._answers(), self._names, self._names, self._policy)
            )
            step.times["typed until the last agent decides by it"] = self._last_change() - began

    def _last_change(self) -> float:
        """When the last of the agents first gave the answer that it gives now."""
        return max((_since(self._lab.callers.histories[name]) for name in self._answers()), default=0.0)

    async def _kill_one(self) -> None:
        victim = self._lab.pick(self._lab.of(self._lab.regions[1]))
        with self._report.step(f"kill one agent, {victim.name}") as step:
            await self._kill(step, [victim.name], victim.name)

    async def _kill_a_region(self) -> None:
        region = self._lab.regions[2]
        with self._report.step(f"kill a region, {region}") as step:
            victims = [agent.name for agent in self._lab.of(region)]
            await self._kill(step, victims, "-l", f"region={region}", "--confirm-max", str(len(victims)))

    async def _kill(self, step: Step, victims: list[str], *words: str) -> None:
        lab = self._lab
        began = lab.now()
        killed = await lab.operator(
            "fleet", "kill", *words, "--reason", "refund loop INC-88", peers=[self._spoken_to]
        )
        step.typed = killed.line
        kill = killed.text("kill")
        step.checks += await self._until(self._held_by(victims, kill))
        self._killed |= dict.fromkeys(victims, kill)
        free = self._free()
        step.checks.append(checks.still_permits(self._answers(), free))
        step.checks.append(
            checks.answered("fleet kill", killed.code, ExitCode.DONE, str(killed.data.get("delivery")))
        )
        last = max(self._denied_at(name, kill) for name in victims)
        what = "it denies" if len(victims) == 1 else f"the last of {len(victims)} denies"
        step.times[f"typed until {what}"] = last - began
        seconds = killed.data.get("seconds")
        if isinstance(seconds, float):
            step.times["signed until the operator's client has it attested"] = seconds

    def _denied_at(self, agent: str, kill: str) -> float:
        history = self._lab.callers.histories[agent]
        return next((seen.at for seen in history if seen.record == kill), self._lab.now())

    async def _lose_the_node_spoken_to(self) -> None:
        lab = self._lab
        with self._report.step(f"SIGKILL {self._spoken_to.name}, the node first spoken to") as step:
            before = await lab.held_by(self._spoken_to)
            lab.sigkill(self._spoken_to)
            left = self._running
            step.checks.append(
                checks.nothing_lost(before, {agent.name: await lab.held_by(agent) for agent in left})
            )
            self._spoken_to = lab.pick([agent for agent in left if agent.region == lab.regions[0]])
            listed = await self._listed(self._spoken_to)
            step.typed = listed.line
            step.checks.append(checks.lists_everybody(_instances(listed), self._names, len(lab.regions)))

    async def _cut_kill_and_heal(self) -> None:
        lab = self._lab
        region = lab.regions[1]
        behind = [agent.name for agent in lab.of(region)]
        victim = lab.pick([agent for agent in lab.of(region) if agent.name not in self._killed])
        with self._report.step(f"cut off region {region}, kill {victim.name} from outside, heal") as step:
            await self._until(
                lambda: checks.are_equal(lab.callers.fingerprints, [a.name for a in self._running])
            )
            lab.backbone.cut(lab.backbone.around(region))
            cut_at = lab.now()
            before = dict(lab.callers.fingerprints)
            outside = [agent for agent in self._running if agent.region != region]
            outside.sort(key=lambda agent: agent is not self._spoken_to)
            killed = await lab.operator(
                "fleet", "kill", victim.name, "--reason", "refund loop INC-89", "--timeout", "2s", peers=outside
            )  # fmt: skip
            step.typed = killed.line
            kill = killed.text("kill")
            step.checks += await self._until(lambda: checks.is_cut(before, lab.callers.fingerprints, behind))
            step.checks.append(
                checks.answered(
                    "fleet kill", killed.code, ExitCode.UNCONFIRMED, "in force, not confirmed everywhere"
                )
            )
            listed = await self._listed_until(
                self._spoken_to, lambda seen: bool(seen.data["partition_suspected"])
            )
            step.checks.append(
                checks.suspects_partition(
                    bool(listed.data["partition_suspected"]), listed.data["reachable"], listed.data["roster"]
                )
            )
            step.checks.append(checks.cannot_know(self._answers(), victim.name))
            lab.backbone.heal()
            healed_at = lab.now()
            everybody = [agent.name for agent in self._running]
            step.checks += await self._until(
                lambda: checks.are_equal(lab.callers.fingerprints, everybody),
                self._held_by([victim.name], kill),
            )
            self._killed[victim.name] = kill
            step.times["the cut lasted"] = healed_at - cut_at
            step.times["healed until all nodes are equal"] = lab.callers.equal_since - healed_at
            step.times["healed until the killed agent denies"] = (
                self._denied_at(victim.name, kill) - healed_at
            )

    async def _restart_a_killed_agent(self) -> None:
        lab = self._lab
        agent = next(agent for agent in self._running if agent.name in self._killed)
        kill = self._killed[agent.name]
        with self._report.step(f"SIGKILL {agent.name}, a killed agent, and start it again") as step:
            lab.sigkill(agent)
            calls = len(lab.callers.histories[agent.name])
            began = lab.now()
            lab.run(agent)

            def since() -> list[checks.Seen]:
                return lab.callers.histories[agent.name][calls:]

            await lab.until(lambda: len(since()) >= SOME_CALLS, WITHIN)
            step.checks += await self._until(lambda: checks.denied_from_the_start(since(), kill))
            first = next((seen.at for seen in since() if seen.record == kill), lab.now())
            step.times["started until it answers, and denies by its old kill"] = first - began

    async def _end(self) -> None:
        lab = self._lab
        with self._report.step("end all processes") as step:
            step.checks.append(checks.never_permitted_again(lab.callers.histories, self._killed))
            step.checks.append(checks.all_ended(await lab.stop()))


def _instances(listed: Typed) -> list[str]:
    rows = listed.data.get("instances")
    return (
        [str(row.get("instance")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    )


def _since(history: list[checks.Seen]) -> float:
    """Since when the answer has been what it is."""
    at = history[-1].at
    for seen in reversed(history):
        if (seen.effect, seen.policy, seen.record) != (
            history[-1].effect,
            history[-1].policy,
            history[-1].record,
        ):
            break
        at = seen.at
    return at
