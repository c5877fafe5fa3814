"""One error out of the groups that nurseries make of it."""

import trio

_ASKED = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit)


def leaf(error: BaseException) -> BaseException:
    """What happened, where groups hold that one error and nothing else. A group of several stays one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def told(error: BaseException) -> str:
    """The error in words, for a log or a denial."""
    found = leaf(error)
    return f"{type(found).__name__}: {found}" if str(found) else type(found).__name__


def asked_to_end(error: BaseException) -> bool:
    """Whether somebody wanted the end, and nothing failed: a cancelled scope, Ctrl-C, `sys.exit`."""
    if isinstance(error, BaseExceptionGroup):
        return all(asked_to_end(each) for each in error.exceptions)
    return isinstance(error, _ASKED)
