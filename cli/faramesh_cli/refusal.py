"""Errors for people: what is wrong, what was left unchanged, what to do next. No traceback is ever shown for one."""

from faramesh_cli.exits import ExitCode


class Refusal(Exception):  # noqa: N818 - an answer of the command line, not a fault of ours
    """Ends a command. `wrong` is one sentence; `unchanged` says what the command did not touch; `todo` is the next
    thing to type or to check."""

    def __init__(
        self, wrong: str, *, unchanged: str = "", todo: str = "", exit_code: ExitCode = ExitCode.ERROR
    ) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.unchanged = unchanged
        self.todo = todo
        self.exit_code = exit_code

    def lines(self) -> tuple[str, ...]:
        """The refusal as people read it."""
        lines = [f"error: {self.wrong}"]
        if self.unchanged:
            lines.append(f"  unchanged: {self.unchanged}")
        if self.todo:
            lines.append(f"  next: {self.todo}")
        return tuple(lines)


def misused(wrong: str, todo: str = "") -> Refusal:
    """The command line itself is wrong, which shows before anything is done: exit code 2."""
    return Refusal(
        wrong,
        unchanged="nothing was done",
        todo=todo or "the same command with --help says how it is written",
        exit_code=ExitCode.USAGE,
    )
