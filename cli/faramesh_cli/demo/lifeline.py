"""The other end of a run's promise to leave no process behind: what each of its processes does first."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Ask the kernel to kill this process when `parent` dies, and end now if it has died already.

    The kernel means the *thread* that started this process, so that must be the main thread. Only Linux has it; elsewhere a
    SIGKILL of the run leaves its processes behind.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
