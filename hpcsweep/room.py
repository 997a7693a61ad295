"""Room: what the site's limits leave for more elements, shared out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hpcsweep.model import Request


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """One limit of the site on what is queued: ``limit`` elements, how many more it lets in now, why, and for which requests."""

    limit: int
    room: int
    reason: str
    bears_on: Callable[[Request], bool] = field(default=lambda _request: True)


class Rooms:
    """What the site's limits leave room for, less what is taken."""

    def __init__(self, ceilings: Sequence[Ceiling]) -> None:
        self._ceilings = ceilings
        self._left = [max(0, ceiling.room) for ceiling in ceilings]

    def take(self, request: Request, wanted: int) -> int:
        """How many of ``wanted`` elements fit; they are taken."""
        bearing = [number for number, ceiling in enumerate(self._ceilings) if ceiling.bears_on(request)]
        taken = min((self._left[number] for number in bearing), default=wanted)
        taken = min(taken, wanted)
        for number in bearing:
            self._left[number] -= taken
        return taken

    def exchange(self, given: Request, taken: Request) -> bool:
        """Give the place of one element back for one of the other kind; False where that would not help it."""
        before = list(self._left)
        for number, ceiling in enumerate(self._ceilings):
            self._left[number] += ceiling.bears_on(given)
        if not self.take(taken, 1):
            self._left = before
            return False
        return True

    def reason(self, request: Request) -> str:
        """Which limit it is that lets in no more."""
        bearing = [(self._left[n], c.reason) for n, c in enumerate(self._ceilings) if c.bears_on(request)]
        return min(bearing)[1]
