"""Places for connections that have not shown yet what they are."""

import trio


class Places:
    """So many, and a newcomer takes the place of whoever has held one longest: strangers who connect and say
    nothing keep nobody out, and whoever has something to say says it long before that."""

    __slots__ = ("_most", "_taken")

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[trio.CancelScope, None] = {}
        """Oldest first."""

    def take(self) -> trio.CancelScope:
        """A place: what happens in this scope is cancelled once it is given to another. Leave it when it is over."""
        place = trio.CancelScope()
        self._taken[place] = None
        if len(self._taken) > self._most:
            oldest = next(iter(self._taken))
            self.leave(oldest)
            oldest.cancel()
        return place

    def leave(self, place: trio.CancelScope) -> None:
        """Give a place back, if it was not given to another."""
        self._taken.pop(place, None)
