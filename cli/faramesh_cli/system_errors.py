"""What the operating system refuses, in words: what failed, and what helps against it."""

import errno


def what_failed(error: OSError) -> str:
    """What the system refused, without numbers: the path, and why."""
    why = error.strerror or str(error) or type(error).__name__
    match error.errno:
        case errno.EACCES | errno.EPERM:
            why = "this user may not (permission denied)"
        case errno.ENOENT:
            why = "there is no such file or directory"
        case errno.ENOSPC | errno.EDQUOT:
            why = "the disk is full"
        case errno.EROFS:
            why = "it can only be read here (read-only file system)"
        case errno.EADDRINUSE:
            why = "the port is in use already"
        case errno.EADDRNOTAVAIL:
            why = "this machine has no such address"
    return f"{error.filename}: {why}" if error.filename is not None else why


def what_helps(error: OSError) -> str:
    """What to do about it."""
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "run it as the user whom this belongs to, or name a place that this user may write to"
        case errno.ENOENT | errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            return "check the path, or name another one"
        case errno.ENOSPC | errno.EDQUOT:
            return "free some disk space, then run it again"
        case errno.EADDRINUSE:
            return "stop what listens there, or choose another port"
        case errno.EADDRNOTAVAIL:
            return "choose an address of this machine"
        case _:
            return "mend that, then run it again"
