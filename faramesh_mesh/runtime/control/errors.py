"""What can go wrong for a client of the control API."""

from faramesh_mesh.runtime.control.answers import Code


class ControlError(Exception):
    """No answer, or none that can be used. Its text says what is wrong and what to do next."""


class Unreachable(ControlError):  # noqa: N818 - it reads as what it is: the node is unreachable
    """No connection could be made, or it ended, or the deadline passed. The request may have been carried out."""


class Untrusted(ControlError):  # noqa: N818
    """The other side could not prove that it is a node of the pinned mesh. Nothing it said was used."""


class Refused(ControlError):  # noqa: N818
    """The node answered and refused. `code` says why."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text or code.name.lower().replace("_", " "))
        self.code = code
