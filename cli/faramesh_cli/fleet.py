"""The fleet verbs: list, push, promote, kill, status, and what stops or lifts them."""

from enum import StrEnum
from typing import Annotated

import typer

from faramesh_cli.command import Shell, command, group, one_target
from faramesh_cli.output import Answer

InstanceArgument = Annotated[
    str | None, typer.Argument(metavar="[INSTANCE]", help="One instance, its id in full.")
]
SelectorOption = Annotated[
    str | None,
    typer.Option("-l", "--selector", help="Agents by label: k=v, k!=v, k in (a,b), k notin (a), k, !k."),
]
AllOption = Annotated[bool, typer.Option("--all", help="Every agent.")]
KeyOption = Annotated[str | None, typer.Option(help="The key that signs, or - for one on stdin.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show whom it concerns; sign nothing.")]
TimeoutOption = Annotated[str, typer.Option(help="How long to wait, such as 30m.")]
AloneOption = Annotated[bool, typer.Option("--alone", help="Without a second person; it is audited.")]
ConfirmMaxOption = Annotated[
    int | None, typer.Option(help="At most so many agents, instead of typing the number.", min=1)
]
ReasonOption = Annotated[str, typer.Option(help="Why. It is signed and shown everywhere.")]
RolloutArgument = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id; may be shortened.")]


class OnAbortName(StrEnum):
    """What exposed agents do after an abort."""

    REVERT = "revert"
    HOLD = "hold"
    DENY = "deny"


def register(app: typer.Typer) -> None:
    """Add `fleet` to the tree."""
    fleet = group("Push policies in stages, stop agents, see the fleet.")
    _looking(fleet)
    _moving(fleet)
    _stopping(fleet)
    app.add_typer(fleet, name="fleet")


def _looking(fleet: typer.Typer) -> None:
    @command(fleet, "list")
    def list_(
        shell: Shell,
        selector: SelectorOption = None,
        wide: Annotated[bool, typer.Option("--wide", help="Also node, address, counts.")] = False,
        watch: Annotated[bool, typer.Option("--watch", help="Redraw as things change.")] = False,
    ) -> Answer:
        """Every instance, silent and revoked ones included."""
        from faramesh_cli.fleet_list import list_fleet

        return list_fleet(shell, selector, wide=wide, watch=watch)

    @command(fleet, "status")
    def status(
        shell: Shell,
        rollout: Annotated[
            str | None, typer.Argument(metavar="[ROLLOUT]", help="Its id; may be shortened.")
        ] = None,
    ) -> Answer:
        """Where rollouts stand: stages, who runs what, holds."""
        from faramesh_cli.fleet_status import show_status

        return show_status(shell, rollout)


def _moving(fleet: typer.Typer) -> None:
    @command(fleet, "push")
    def push(
        shell: Shell,
        policy: Annotated[str, typer.Option(help="The policy file.")],
        message: Annotated[str, typer.Option("--message", "-m", help="What changes, for people.")],
        instance: InstanceArgument = None,
        selector: SelectorOption = None,
        everyone: AllOption = False,
        line: Annotated[
            str | None, typer.Option(help="The policy's name. [default: the agents' line]")
        ] = None,
        stages: Annotated[str | None, typer.Option(help="Shares (1%,5%,25%,100%) or counts (1,3,7).")] = None,
        on_abort: Annotated[
            OnAbortName | None,
            typer.Option(
                help="What exposed agents do after an abort. [default: revert, deny without a base]"
            ),
        ] = None,
        supersedes: Annotated[
            list[str] | None, typer.Option("--supersedes", help="A rollout under way to replace.")
        ] = None,
        dry_run: DryRunOption = False,
        confirm_count: Annotated[
            int | None, typer.Option(help="The number of agents, instead of typing it.", min=1)
        ] = None,
        wait: Annotated[bool, typer.Option("--wait", help="Wait until the canary has reported.")] = False,
        timeout: TimeoutOption = "30m",
        key: KeyOption = None,
    ) -> Answer:
        """Publish a policy and open its canary. The rest follows with `fleet promote`."""
        from faramesh_cli.fleet_push import PushRequest, push_policy

        target = one_target(instance, selector, everyone)
        return push_policy(
            shell,
            PushRequest(
                target=target,
                instance=instance,
                policy=policy,
                message=message,
                line=line,
                stages=stages,
                on_abort=None if on_abort is None else on_abort.value,
                supersedes=tuple(supersedes or ()),
                dry_run=dry_run,
                confirm_count=confirm_count,
                wait=wait,
                timeout=timeout,
                key=key,
            ),
        )

    @command(fleet, "promote")
    def promote(
        shell: Shell,
        rollout: RolloutArgument,
        to_stage: Annotated[
            int | None, typer.Option(help="Open stages up to this one. [default: the next]", min=1)
        ] = None,
        key: KeyOption = None,
    ) -> Answer:
        """Vote for the next stage of a rollout, or for all up to one."""
        from faramesh_cli.fleet_promote import promote_rollout

        return promote_rollout(shell, rollout, to_stage, key)

    @command(fleet, "cosign")
    def cosign(
        shell: Shell,
        record: Annotated[str, typer.Argument(metavar="RECORD", help="Its id, 16 digits or more.")],
        dry_run: DryRunOption = False,
        confirm_count: Annotated[
            int | None, typer.Option(help="The number of agents, instead of typing it.", min=0)
        ] = None,
        key: KeyOption = None,
    ) -> Answer:
        """Look at what another key signed, stand behind it, and vote for the next stage."""
        from faramesh_cli.fleet_cosign import CosignRequest, cosign_record

        return cosign_record(shell, CosignRequest(record, confirm_count, dry_run, key))

    @command(fleet, "restore")
    def restore(
        shell: Shell,
        kills: Annotated[list[str], typer.Argument(metavar="KILL...", help="The kills to lift.")],
        policy: Annotated[str | None, typer.Option(help="The corrected policy file.")] = None,
        message: Annotated[str, typer.Option("--message", "-m", help="What was corrected.")] = "",
        same_policy: Annotated[
            bool, typer.Option("--same-policy", help="Bring back the policy as it was, and say so.")
        ] = False,
        stages: Annotated[str | None, typer.Option(help="As for push.")] = None,
        dry_run: DryRunOption = False,
        confirm_count: Annotated[
            int | None, typer.Option(help="The number of agents, instead of typing it.", min=1)
        ] = None,
        key: KeyOption = None,
    ) -> Answer:
        """Lift kills with a corrected policy, stage by stage."""
        from faramesh_cli.fleet_restore import RestoreRequest, restore_agents

        return restore_agents(
            shell,
            RestoreRequest(
                kills=tuple(kills),
                policy=policy,
                message=message,
                same_policy=same_policy,
                stages=stages,
                dry_run=dry_run,
                confirm_count=confirm_count,
                key=key,
            ),
        )


def _stopping(fleet: typer.Typer) -> None:
    @command(fleet, "kill")
    def kill(
        shell: Shell,
        reason: ReasonOption,
        instance: InstanceArgument = None,
        selector: SelectorOption = None,
        everyone: AllOption = False,
        tools: Annotated[
            list[str] | None, typer.Option("--tools", help="Only tools that match this glob. Repeatable.")
        ] = None,
        wait: Annotated[str, typer.Option(help="Wait until all, or a share such as 90%, deny.")] = "all",
        timeout: TimeoutOption = "5s",
        alone: AloneOption = False,
        confirm_max: ConfirmMaxOption = None,
        dry_run: DryRunOption = False,
        key: KeyOption = None,
    ) -> Answer:
        """Stop agents at once: they deny every call until a restore names this kill."""
        from faramesh_cli.fleet_kill import KillRequest, kill_agents

        return kill_agents(
            shell,
            KillRequest(
                target=one_target(instance, selector, everyone),
                instance=instance,
                reason=reason,
                tools=tuple(tools or ()),
                wait=wait,
                timeout=timeout,
                alone=alone,
                confirm_max=confirm_max,
                dry_run=dry_run,
                key=key,
            ),
        )

    @command(fleet, "abort")
    def abort(
        shell: Shell,
        rollout: RolloutArgument,
        reason: ReasonOption,
        timeout: TimeoutOption = "5s",
        alone: AloneOption = False,
        confirm_max: ConfirmMaxOption = None,
        dry_run: DryRunOption = False,
        key: KeyOption = None,
    ) -> Answer:
        """End a rollout for ever, a complete one too: its agents fall back, or deny where it says so."""
        from faramesh_cli.fleet_abort import AbortRequest, abort_rollout

        return abort_rollout(
            shell,
            AbortRequest(
                rollout=rollout,
                reason=reason,
                timeout=timeout,
                alone=alone,
                confirm_max=confirm_max,
                dry_run=dry_run,
                key=key,
            ),
        )

    @command(fleet, "hold")
    def hold(shell: Shell, rollout: RolloutArgument, reason: ReasonOption, key: KeyOption = None) -> Answer:
        """Let no further agent adopt the policy until a release."""
        from faramesh_cli.fleet_halt import hold_rollout

        return hold_rollout(shell, rollout, reason, key)

    @command(fleet, "release")
    def release(
        shell: Shell, rollout: RolloutArgument, reason: ReasonOption, key: KeyOption = None
    ) -> Answer:
        """Lift the holds of a rollout that stand now."""
        from faramesh_cli.fleet_halt import release_rollout

        return release_rollout(shell, rollout, reason, key)
