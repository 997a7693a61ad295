"""What can go wrong on demand: one table, and the faults that are on."""

from __future__ import annotations

from dataclasses import dataclass, field

FAULTS: dict[str, str] = {
    "down": "the scheduler cannot be reached; what runs goes on, nothing starts",
    "hung": "no answer until the fault is taken away (clients lose patience after their time); what was asked is done then",
    "submit-timeout": "a submission is accepted, but its client never hears of it",
    "refuse": "a submission is refused; the argument chooses the reason: `queue`, `limit` ..., see the scheduler",
    "history-down": "the history cannot be reached (Slurm: slurmdbd); all else goes on",
    "history-off": "the scheduler keeps no history",
    "history-empty": "the history answers, and knows nothing",
    "history-late": "the history is the argument's number of seconds late (60 where it is not given)",
    "purged": "jobs that have ended are forgotten at once",
    "trqauthd-down": "Torque's authorisation daemon is down: every command fails",
    "node-lost": "the node (the argument; else the first) is gone with all that ran on it, until the fault is taken away",
    "walltime": "the element (the argument: 12, 12[3]; else all that run) is ended as if its time was up; once",
    "oom": "the element (the argument; else all that run) is killed as out of memory; once",
    "forget": "a controller that crashed: the last jobs (the argument: how many; else one) vanish, their ids are given again; once",
}
"""Name -> its one line of help. ``NAME``, ``NAME=ARGUMENT``, ``NAME=ARGUMENT,CALLS``, and ``NAME=CALLS`` where it takes no argument."""

ONCE = frozenset({"walltime", "oom", "forget"})
"""Faults that are something that happens, not a state."""

WITH_ARGUMENT = frozenset({"refuse", "history-late", "node-lost", "walltime", "oom", "forget"})


@dataclass(kw_only=True, slots=True)
class Fault:
    """A fault that is on."""

    name: str
    argument: str = ""
    calls: int | None = None
    """For so many more calls that it hits; None: until it is taken away."""


def parse_fault(text: str) -> Fault:
    """``refuse=queue,2`` -> a fault.

    Raises:
        ValueError: with a message, for anything that is not in the table.
    """
    name, has_value, value = text.partition("=")
    if name not in FAULTS:
        raise ValueError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}")
    argument, comma, calls = value.rpartition(",") if name in WITH_ARGUMENT and "," in value else (value, "", "")
    if name not in WITH_ARGUMENT:
        argument, calls = "", value
    if (calls or comma or (has_value and name not in WITH_ARGUMENT)) and not (
        calls.isascii() and calls.isdigit() and int(calls)
    ):
        raise ValueError(f"{text!r}: the number of calls must be a whole number above 0")
    return Fault(name=name, argument=argument, calls=int(calls) if calls else None)


@dataclass(kw_only=True)
class Faults:
    """All faults that are on."""

    active: dict[str, Fault] = field(default_factory=dict)

    def is_on(self, name: str) -> bool:
        """Whether it is on, without using it up."""
        return name in self.active

    def argument(self, name: str, default: str = "") -> str:
        """The argument of a fault, if it is on and has one."""
        return (self.active[name].argument or default) if name in self.active else default

    def take(self, name: str) -> bool:
        """Whether the fault hits this call; counts the call."""
        fault = self.active.get(name)
        if fault is None:
            return False
        if fault.calls is not None:
            fault.calls -= 1
            if fault.calls <= 0:
                del self.active[name]
        return True

    def to_plain(self) -> list[dict[str, str | int | None]]:
        """As JSON keeps it."""
        return [{"name": fault.name, "argument": fault.argument, "calls": fault.calls} for fault in self.active.values()]

    @classmethod
    def from_plain(cls, plain: list[dict[str, str | int | None]]) -> Faults:
        """What ``to_plain`` wrote."""
        found = [parse_kept(kept) for kept in plain]
        return cls(active={fault.name: fault for fault in found})


def parse_kept(kept: dict[str, str | int | None]) -> Fault:
    """One fault, as it was kept."""
    calls = kept["calls"]
    return Fault(name=str(kept["name"]), argument=str(kept["argument"]), calls=None if calls is None else int(calls))
