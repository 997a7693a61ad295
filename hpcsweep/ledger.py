"""What the journal says: its events replayed, in their order, into arrays, attempts and wishes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from hpcsweep.events import FINALLY
from hpcsweep.jobids import element_id
from hpcsweep.model import Request
from hpcsweep.packing import ALONE, Packing
from hpcsweep.ranges import MOST_NUMBERS, parse_ranges
from hpcsweep.schedulers.base import Seen
from hpcsweep.states import State

_TEXTS = {"gpu_type", "partition", "account", "qos"}
Submission = Literal["planned", "submitting", "uncertain", "submitted", "refused", "abandoned"]
NOT_HANDED_OVER = ("planned", "refused", "abandoned")
"""Of an array that stands so the scheduler has nothing."""


@dataclass(kw_only=True)
class Array:
    """One array as the journal knows it. ``tasks[position]`` is a task index (FINALLY: the command after them).

    Its elements run one position each, or, where they are packed, several that follow one another. ``request`` is per task.
    """

    number: int
    tag: str
    tasks: Sequence[int]
    attempts: Mapping[int, int]  # task -> attempt, where it is not 1
    kind: Literal["tasks", "finally"]
    request: Request
    planned_at: float
    after: tuple[str, ...] = ()  # jobs of others that it has to wait for
    awaits: int | None = None  # `finally`: how many tasks' records its element has to find; None: it need not look
    is_single: bool = False  # a job of its own, not an array with one element
    packing: Packing = ALONE
    submission: Submission = "planned"
    submitted_at: float = 0.0
    waits_for: tuple[str, ...] = ()  # jobs that the scheduler was told of, this run's own among them
    job: str | None = None  # the id that counts
    more_jobs: dict[str, frozenset[int]] = field(default_factory=dict)  # further ids under its tag -> elements that are theirs
    part: frozenset[int] | None = None  # which elements are being submitted (None: all)
    forgotten: frozenset[int] = frozenset()  # elements that never started and that the scheduler no longer knows
    times_forgotten: int = 0
    message: str = ""
    is_curable: bool = False
    may_exist: bool = False  # one of its submissions got no answer: that another one was refused says nothing about it
    displaced: dict[int, tuple[Array, int]] = field(default_factory=dict)  # task -> what was current before it was planned here
    seen: dict[int, Seen] = field(default_factory=dict)  # position -> an end that only the scheduler knows
    returned: set[int] = field(default_factory=set)  # positions whose element came and went without starting their task
    settled: bool = False  # every element's end is recorded: the scheduler need not be asked again
    is_found: bool = False  # the journal has lost it: its folder is all that tells of it

    @property
    def size(self) -> int:
        """How many elements it has."""
        return self.packing.elements(len(self.tasks))

    def element_of(self, position: int) -> int:
        """Which element runs a position."""
        return position // self.packing.tasks_per_element

    def tasks_of(self, elements: Iterable[int]) -> list[int]:
        """The tasks that these elements run."""
        many = self.packing.tasks_per_element
        return [task for element in elements for task in self.tasks[element * many : (element + 1) * many]]

    def is_alone(self, position: int) -> bool:
        """Whether the element that runs a position runs nothing else: what the scheduler says of it is the task's then."""
        return len(self.tasks_of([self.element_of(position)])) == 1

    @property
    def is_uncertain(self) -> bool:
        """Whether nobody knows yet that the scheduler has it."""
        return self.submission in ("submitting", "uncertain") and not self.settled

    def attempt_of(self, task: int) -> int:
        """Which attempt of ``task`` it runs."""
        return self.attempts.get(task, 1)

    @property
    def jobs(self) -> tuple[str, ...]:
        """All ids that are known under its tag, the one that counts first."""
        return () if self.job is None else (self.job, *self.more_jobs)

    @property
    def awaited_jobs(self) -> tuple[str, ...]:
        """The ids that have elements of their own: what others have to wait for."""
        return tuple(job for job in self.jobs if job == self.job or self.more_jobs[job])

    def array_job_of(self, element: int) -> str | None:
        """The id of the job that an element was last given to: ``4711``."""
        return next((job for job, elements in reversed(self.more_jobs.items()) if element in elements), self.job)

    def job_of(self, element: int) -> str | None:
        """The scheduler's id of one element, ``4711_3`` or ``39[3].pbs``; of a single job, ``4711``."""
        job = self.array_job_of(element)
        return job if job is None or self.is_single else element_id(job, element)


@dataclass(frozen=True, kw_only=True)
class Extension:
    """Tasks that came to the run after it was made, from ``first`` on. ``offset`` and ``size``: their lines in tasks.jsonl, bytes."""

    at: float
    first: int
    total: int
    offset: int
    size: int
    names: tuple[str, ...] = ()  # parameters that no task had before


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """A run that was moved or copied has a new place, and new names for the scheduler."""

    at: float
    path: str  # absolute, as the user writes it
    host: str
    tag: str  # what the names of its jobs begin with
    cwd: str
    uid: str = ""  # a copy's own; empty: still the one of run.json


@dataclass(frozen=True, kw_only=True)
class Feeder:
    """The newest job that was left to advance the run. ``job`` None: the scheduler did not confirm it."""

    number: int
    tag: str
    at: float
    job: str | None = None
    is_refused: bool = False


@dataclass(kw_only=True)
class Ledger:
    """All that the journal says of a run."""

    total: int = 0  # how many tasks the run has
    extensions: list[Extension] = field(default_factory=list)
    adoptions: list[Adoption] = field(default_factory=list)
    arrays: dict[int, Array] = field(default_factory=dict)
    current: dict[int, tuple[Array, int]] = field(default_factory=dict)  # task -> its newest array and position there
    wanted: set[int] = field(default_factory=set)  # tasks whose current attempt ended and that shall run again
    requests: dict[int, Request] = field(default_factory=dict)  # task -> what its next attempt asks for, where that is settled
    cancelled: set[tuple[int, int]] = field(default_factory=set)  # (task, attempt) that somebody asked to cancel
    cancelled_at: float = 0.0  # when that was last asked for
    continued: dict[int, set[int]] = field(default_factory=dict)  # task -> attempts that another one goes on from
    withdrawn: set[int] = field(default_factory=set)  # tasks cancelled before they were ever submitted
    revoked: set[tuple[int, int]] = field(default_factory=set)
    is_held: bool = False
    released_failures: int = 0  # how many failures a `release` has accepted
    is_canary_released: bool = False
    at_once: int | None = None
    is_fed: bool = False  # a job shall advance the run where something is left to submit
    feeder: Feeder | None = None
    is_finished: bool = False
    unknown_events: int = 0
    damaged_events: int = 0
    missing: list[str] = field(default_factory=list)  # what the journal must have said and does not: nobody may act on the rest

    def replay(self, events: Iterable[Mapping[str, Any]]) -> Ledger:
        """Fold ``events`` (the journal's lines) in; unknown and damaged ones are counted and passed over."""
        for event in events:
            handler = _HANDLERS.get(str(event.get("event")))
            if handler is None:
                self.unknown_events += 1
                continue
            try:
                handler(self, event)
            except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
                self.damaged_events += 1
                self._miss(event)
        return self

    def _miss(self, event: Mapping[str, Any]) -> None:
        """A line that cannot be read tells at least of an array that ought to be known."""
        number = event.get("array")
        if isinstance(number, int) and number not in self.arrays:
            text = f"the journal does not say what array {number:03d} is"
            if text not in self.missing:
                self.missing.append(text)

    def add_found(self, array: Array) -> None:
        """Take in an array of which only its folder tells; later attempts of tasks outrank earlier ones."""
        self.arrays[array.number] = array
        for position, task in enumerate(array.tasks):
            known = self.current.get(task)
            if known is None or known[0].attempt_of(task) < array.attempt_of(task):
                self.current[task] = (array, position)

    def live_arrays(self) -> list[Array]:
        """Arrays that the scheduler may still have something of."""
        return [
            array
            for array in self.arrays.values()
            if not array.settled and (array.job is not None or array.submission not in NOT_HANDED_OVER)
        ]

    @property
    def has_unsubmitted(self) -> bool:
        """Whether some tasks still to be run have no job that is known."""
        if self.is_finished:
            return False
        if self.wanted or len(self.current.keys() | self.withdrawn) < self.total:
            return True
        known = ("submitted", "abandoned")
        unseen = [array for array in self.arrays.values() if array.submission not in known and not array.settled]
        keys = ((array, task, (task, array.attempt_of(task))) for array in unseen for task in array.tasks)
        return any(
            self.current[task][0] is array and key not in self.cancelled and key not in self.revoked
            for array, task, key in keys
        )

    def request_of(self, task: int) -> Request | None:
        """What the next attempt of a task asks for: what was settled for it, or what its last one asked for. None: nobody has said."""
        if task in self.requests:
            return self.requests[task]
        array, _position = self.current.get(task, (None, 0))
        return None if array is None or array.is_found else array.request

    def next_array(self) -> int:
        """The number of the next array."""
        return max(self.arrays, default=0) + 1


def request_from_json(data: Mapping[str, Any]) -> Request:
    """The request that a ``planned`` event holds; names of a newer version are passed over."""
    values = {name: data[name] for name in Request.__dataclass_fields__ if name in data and name != "exclude_nodes"}
    for name, value in values.items():
        if name == "gpus" and isinstance(value, float) and 0 < value < 1:
            continue
        if value is not None and (isinstance(value, bool) or not isinstance(value, str if name in _TEXTS else int)):
            raise ValueError(f"{name}: {value!r} is no value for it")
    return Request(**values, exclude_nodes=_texts(data.get("exclude_nodes", [])))


def request_to_json(request: Request) -> dict[str, Any]:
    """What ``request_from_json`` reads; what is not asked for is left out."""
    given = {name: value for name, value in asdict(request).items() if value is not None and value != ()}
    return given | {name: list(value) for name, value in given.items() if isinstance(value, tuple)}


def _created(ledger: Ledger, event: Mapping[str, Any]) -> None:
    ledger.total = _count(event["tasks"])


def _count(value: object) -> int:
    """A number of things that a run can have."""
    if not isinstance(value, int) or not 0 <= value <= MOST_NUMBERS:
        raise ValueError(f"{value!r} is no count")
    return value


def _size(value: object) -> int:
    """Bytes of a file."""
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no size")
    return value


def _time(event: Mapping[str, Any]) -> float:
    """When it was written, epoch seconds."""
    at = float(event["at"])
    if not 0 <= at < 1e11:
        raise ValueError(f"{at!r} is no time")
    return at


def _numbers(ranges: object, below: int) -> list[int]:
    """``"0-2,5"`` -> [0, 1, 2, 5], each once; a damaged line shall not fill the memory."""
    if not isinstance(ranges, str):
        raise TypeError("no ranges")
    numbers: list[int] = []
    for number in parse_ranges(ranges):
        if number >= below or len(numbers) >= below:
            raise ValueError(f"{number} is none of {below}")
        numbers.append(number)
    return numbers


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("no list of texts")
    return tuple(value)


def _maybe(event: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A field that may be absent or null, of one of these kinds (None for one of another)."""
    value = event.get(name)
    return value if isinstance(value, kinds) and not isinstance(value, bool) else None


def _extended(ledger: Ledger, event: Mapping[str, Any]) -> None:
    extension = Extension(
        at=_time(event),
        first=_count(event["first"]),
        total=_count(event["tasks"]),
        offset=_size(event["offset"]),
        size=_size(event["bytes"]),
        names=tuple(str(name) for name in event.get("names", ())),
    )
    if extension.total <= ledger.total:
        return
    ledger.extensions.append(extension)
    ledger.total = extension.total
    ledger.is_finished = False
    # The command after the tasks comes after these too: again, where it has run.
    ledger.withdrawn.discard(FINALLY)
    if FINALLY in ledger.current:
        ledger.wanted.add(FINALLY)


def _adopted(ledger: Ledger, event: Mapping[str, Any]) -> None:
    texts = {name: str(event[name]) for name in ("path", "host", "tag", "cwd")}
    if ledger.feeder is not None:
        ledger.feeder = replace(ledger.feeder, is_refused=True)  # it knows the run by its old path
    ledger.adoptions.append(Adoption(at=_time(event), uid=str(event.get("uid", "")), **texts))


def _planned(ledger: Ledger, event: Mapping[str, Any]) -> None:
    number = _count(event["array"])
    if number in ledger.arrays:
        return
    kind: Literal["tasks", "finally"] = "finally" if event.get("kind", "tasks") == "finally" else "tasks"
    tasks = [FINALLY] if kind == "finally" else _numbers(event["tasks"], ledger.total)
    if not tasks:
        raise ValueError("an array without tasks")
    attempts = {
        task: int(attempt)
        for attempt, ranges in event.get("attempts", {}).items()
        if int(attempt) != 1
        for task in (tasks if kind == "finally" else _numbers(ranges, ledger.total))
    }
    if not isinstance(event["tag"], str):
        raise TypeError("the tag is no text")
    array = Array(
        number=number,
        tag=event["tag"],
        tasks=tasks,
        attempts=attempts,
        kind=kind,
        request=request_from_json(event.get("request", {})),
        planned_at=_time(event),
        after=_texts(event.get("after", [])),
        awaits=_maybe(event, "awaits", int),
        is_single=bool(event.get("single")),
        packing=_packing(event),
    )
    ledger.arrays[number] = array
    ledger.is_finished = False
    array.displaced = {task: ledger.current[task] for task in tasks if task in ledger.current}
    for position, task in enumerate(tasks):
        ledger.current[task] = (array, position)
    ledger.wanted.difference_update(tasks)
    for task in tasks:
        ledger.requests.pop(task, None)


def _packing(event: Mapping[str, Any]) -> Packing:
    data = event.get("packing")
    if data is None:
        return ALONE
    packing = Packing(tasks_per_element=_count(data["tasks_per_element"]), parallel=_count(data["parallel"]))
    if not 1 <= packing.parallel <= packing.tasks_per_element:
        raise ValueError(f"{data!r} is no packing")
    return packing


def _submitting(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    if array.submission in ("planned", "uncertain", "refused", "submitting") or array.forgotten:
        array.may_exist |= array.is_uncertain
        array.submission, array.submitted_at = "submitting", _time(event)
        array.waits_for = _texts(event.get("waits_for", []))
        array.part = frozenset(_numbers(event["elements"], array.size)) if "elements" in event else None


def _submitted(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    job = str(event["job"])
    if array.part is not None and array.job not in (None, job):
        array.more_jobs[job] = array.part
    else:
        if array.job not in (None, job):
            array.more_jobs = {**array.more_jobs, str(array.job): frozenset()}
        array.more_jobs.pop(job, None)
        array.job = job
    array.submission, array.message, array.part, array.forgotten = "submitted", "", None, frozenset()


def _duplicate(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    if str(event["job"]) != array.job:
        array.more_jobs.setdefault(str(event["job"]), frozenset())


def _forgotten(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    array.forgotten |= frozenset(_numbers(event["elements"], array.size))
    array.times_forgotten += 1
    array.message = str(event.get("message", ""))


def _refused(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    array.message, array.is_curable = str(event.get("message", "")), bool(event.get("curable"))
    # What was refused is a repetition: the submission before it may have been accepted all the same.
    array.submission = "uncertain" if array.may_exist else "refused"


def _abandoned(ledger: Ledger, event: Mapping[str, Any]) -> None:
    """A refused array is given back: nothing of it exists, and its tasks stand as they did before it was planned.

    Where an earlier submission had no answer its attempts are revoked: the tasks need others.
    """
    array = ledger.arrays[event["array"]]
    if array.submission not in ("refused", "uncertain"):
        return
    array.submission = "abandoned"
    for task in array.tasks:
        key = (task, array.attempt_of(task))
        if ledger.current.get(task, (None, 0))[0] is not array or key in ledger.cancelled:
            continue
        if task != FINALLY:
            ledger.requests[task] = array.request
        if key in ledger.revoked:
            ledger.wanted.add(task)  # that attempt is over, and the next one has another number
        elif task in array.displaced:
            ledger.current[task] = array.displaced[task]
            ledger.wanted.add(task)
        else:
            del ledger.current[task]


def _uncertain(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    array.submission, array.message = "uncertain", str(event.get("message", ""))


def _seen(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    positions = _positions(array, event)
    elements = tuple(dict.fromkeys(map(array.element_of, positions)))
    try:
        state = State(event["state"])
    except ValueError:
        state = State.UNKNOWN
    seen = Seen(
        tag=array.tag,
        job=array.job or "",
        elements=elements,
        state=state,
        raw=str(event.get("raw", "")),
        reason=str(event.get("reason", "")),
        node=str(event.get("node", "")),
        exit_code=_maybe(event, "exit_code", int),
        signal=_maybe(event, "signal", int),
        elapsed_s=_maybe(event, "elapsed_s", int, float),
    )
    array.seen.update(dict.fromkeys(positions, seen))


def _returned(ledger: Ledger, event: Mapping[str, Any]) -> None:
    array = ledger.arrays[event["array"]]
    array.returned |= set(_positions(array, event))


def _positions(array: Array, event: Mapping[str, Any]) -> list[int]:
    """The positions that an event is about. Where each has an element of its own, these are named."""
    return _numbers(event["elements" if "positions" not in event else "positions"], len(array.tasks))


def _settled(ledger: Ledger, event: Mapping[str, Any]) -> None:
    ledger.arrays[event["array"]].settled = True


def _cancel(ledger: Ledger, event: Mapping[str, Any]) -> None:
    ledger.cancelled_at = float(event["at"])
    for task in _numbers(event["tasks"], ledger.total):
        if task in ledger.wanted or task not in ledger.current:
            ledger.withdrawn.add(task)
            ledger.wanted.discard(task)
        if task in ledger.current:
            array, _position = ledger.current[task]
            ledger.cancelled.add((task, array.attempt_of(task)))
    if event.get("finally"):
        ledger.withdrawn.add(FINALLY)
        ledger.wanted.discard(FINALLY)
        if FINALLY in ledger.current:
            ledger.cancelled.add((FINALLY, ledger.current[FINALLY][0].attempt_of(FINALLY)))


def _held(ledger: Ledger, _event: Mapping[str, Any]) -> None:
    ledger.is_held = True


def _released(ledger: Ledger, event: Mapping[str, Any]) -> None:
    ledger.is_held = False
    ledger.released_failures = _count(event.get("failures", ledger.released_failures))
    ledger.is_canary_released |= bool(event.get("canary", True))


def _throttled(ledger: Ledger, event: Mapping[str, Any]) -> None:
    ledger.at_once = _count(event["at_once"])


def _resubmit(ledger: Ledger, event: Mapping[str, Any]) -> None:
    tasks = set(_numbers(event["tasks"], ledger.total))
    ledger.withdrawn -= tasks | {FINALLY}
    if event.get("finally"):
        tasks.add(FINALLY)
    ledger.wanted |= {task for task in tasks if task in ledger.current}
    ledger.is_finished = False
    if "request" in event:
        request = request_from_json(event["request"])
        ledger.requests.update(dict.fromkeys(tasks - {FINALLY}, request))


def _continued(ledger: Ledger, event: Mapping[str, Any]) -> None:
    """Tasks that saved at their time limit go on in the next attempt; said twice of one attempt it is the same decision."""
    attempt = int(event["attempt"])
    for task in _numbers(event["tasks"], ledger.total):
        current = ledger.current.get(task)
        if current is not None and current[0].attempt_of(task) == attempt:
            ledger.continued.setdefault(task, set()).add(attempt)
            ledger.wanted.add(task)
            ledger.is_finished = False
    if event.get("finally") and FINALLY in ledger.current:
        ledger.wanted.add(FINALLY)


def _revoked(ledger: Ledger, event: Mapping[str, Any]) -> None:
    attempt = int(event["attempt"])
    ledger.revoked |= {(task, attempt) for task in _numbers(event["tasks"], ledger.total)}
    if event.get("finally"):
        ledger.revoked.add((FINALLY, attempt))


def _fed(ledger: Ledger, _event: Mapping[str, Any]) -> None:
    ledger.is_fed = True


def _feeder(ledger: Ledger, event: Mapping[str, Any]) -> None:
    job = event.get("job")
    ledger.feeder = Feeder(
        number=_count(event["number"]),
        tag=str(event["tag"]),
        at=_time(event),
        job=None if job is None else str(job),
        is_refused=bool(event.get("refused")),
    )


def _finished(ledger: Ledger, _event: Mapping[str, Any]) -> None:
    ledger.is_finished = True


_HANDLERS = {
    "created": _created,
    "extended": _extended,
    "adopted": _adopted,
    "planned": _planned,
    "submitting": _submitting,
    "submitted": _submitted,
    "duplicate": _duplicate,
    "forgotten": _forgotten,
    "refused": _refused,
    "uncertain": _uncertain,
    "abandoned": _abandoned,
    "seen": _seen,
    "returned": _returned,
    "settled": _settled,
    "cancel": _cancel,
    "held": _held,
    "released": _released,
    "throttled": _throttled,
    "resubmit": _resubmit,
    "continued": _continued,
    "revoked": _revoked,
    "fed": _fed,
    "feeder": _feeder,
    "finished": _finished,
}
