"""This machine as a little scheduler: arrays of elements, a few at once, with commands like a real scheduler's.

    python -I -S localqueue.py submit --dir QUEUE_DIR --tag TAG --size N --script PATH --log PATH --chdir DIR
                                      [--jobs J] [--at-once K] [--after ID ...] [--hold] [--then ARGV_JSON]
                                      [--devices "VARIABLE NAMES=LOCKS ..."] [--gpus G] [--locks FOLDER]
    python -I -S localqueue.py live --dir QUEUE_DIR [--tag TAG ...]
    python -I -S localqueue.py cancel --dir QUEUE_DIR --tag TAG [--grace S | --pending] ID [ELEMENTS]
    python -I -S localqueue.py hold|release --dir QUEUE_DIR --tag TAG ID
    python -I -S localqueue.py throttle --dir QUEUE_DIR --tag TAG ID K
    python -I -S localqueue.py jobs --dir QUEUE_DIR J

``submit`` leaves one detached process, the array's queue, and prints its id, ``PID-STARTTIME-BOOT``, which says by itself
whether that process is still the one. ``live`` prints ``ID|ELEMENTS|STATE|REASON|TAG|NODE|ELAPSED_S`` lines. Exit codes: 0;
1 with a message; 2 usage; 4 no answer: the queue is on another host, or its disk is full.

Run by its path and on the standard library's lightest modules alone, so that each command takes little more than the
interpreter's start. In QUEUE_DIR: ``job-ID``, what the queue last said of itself, gone when it has ended; ``control-ID``,
what it was told; ``slot-0`` ..., locked by the elements that run, over all arrays; ``jobs``, how many slots there are;
``devices``, the GPUs that elements may have. Which of these are taken is known to all queues of this machine, of all users: by
byte ranges of one file, locked as long as an element runs.
"""

# pathlib alone takes longer to import than all that these commands do.
# ruff: noqa: PTH100, PTH102, PTH103, PTH104, PTH108, PTH110, PTH116, PTH123, PTH208

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import stat
import struct
import sys
import time
import zlib

Ranges = list[tuple[int, int]]  # ascending, both ends included

SLOT_FD = 200  # in the elements; far from what scripts use
GPUS_FD = 201
LOCK_FOLDER = "/tmp/hpcsweep-gpus"  # noqa: S108 -- the one place that all users share; nothing is ever written to what lies there
LOCK_FILE = "locks"
WHOLE_GPU = 720720  # bytes that are locked for one; 1/2, 1/3 ... 1/16 of it are whole numbers
GATE = (0, 1)  # the byte that is locked by who looks around and takes
GATE_TRIES = 20
TOUCH_S = 3600.0  # what lies in /tmp untouched for days is swept away
NEVER_MIND = ("", "Held", "Dependency", "JobArrayTaskLimit")  # reasons that time alone does not mend
DEFAULT_GRACE_S = 5.0
LEFTOVERS_GRACE_S = 2.0
UNKILLABLE_S = 10.0  # what outlives KILL that long hangs in the kernel; nobody waits for it
FOLDER_CHECK_S = 5.0
POLL_S = 1.0  # where nothing wakes us: slots freed by orphans, other queues that were killed
ANSWER_S = 5.0


class QueueError(Exception):
    """Something to tell the caller, with the exit code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


# ---- sets of elements ----


def parse_ranges(text: str) -> Ranges:
    """``"0-2,5"`` -> ``[(0, 2), (5, 5)]``."""
    ranges = []
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise QueueError(f"{part!r} is not an element or a range like 3-7", 2)
        ranges.append((int(first), int(last or first)))
    return sorted(ranges)


def format_ranges(ranges: Ranges) -> str:
    """``[(0, 2), (5, 5)]`` -> ``"0-2,5"``."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def subtract_ranges(ranges: Ranges, taken: Ranges) -> Ranges:
    """What of ``ranges`` is not in ``taken``."""
    for low, high in taken:
        left: Ranges = []
        for first, last in ranges:
            left += [(first, min(last, low - 1))] if first < low else []
            left += [(max(first, high + 1), last)] if last > high else []
        ranges = left
    return ranges


def is_in_ranges(number: int, ranges: Ranges) -> bool:
    """Whether one of the ranges holds ``number``."""
    return any(low <= number <= high for low, high in ranges)


# ---- processes ----


class Process:
    """One line of /proc: a process with its parent, session, start (ticks since boot) and state letter."""

    __slots__ = ("parent", "pid", "session", "start", "state")

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.start = int(fields[19])


def read_process(pid: int) -> Process | None:
    """The process, or None when it is gone or a zombie."""
    try:
        process = Process(pid, read_bytes(f"/proc/{pid}/stat"))
    except (OSError, ValueError):
        return None
    return None if process.state in "ZX" else process


def read_bytes(path: str) -> bytes:
    """A file's bytes."""
    with open(path, "rb") as stream:
        return stream.read()


def read_boot_id() -> str:
    """A few letters that tell this boot of the machine from every other."""
    return read_bytes("/proc/sys/kernel/random/boot_id").decode()[:8]


def pid_of(job: str) -> int:
    """The queue's process, as its id says."""
    return int(job.partition("-")[0])


def is_queue_alive(job: str) -> bool:
    """Whether the process that the id names is there, and the same one."""
    try:
        pid, start, boot = job.split("-")
        process = read_process(int(pid))
    except ValueError:
        return False
    return process is not None and str(process.start) == start and boot == read_boot_id()


def list_processes() -> dict[int, Process]:
    """All processes that are not zombies."""
    found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def find_elements(job: str, tag: str = "") -> dict[int, set[int]]:
    """Element -> the processes that belong to it, whoever their parents are and whatever sessions they made.

    An element's processes have ``HPCSWEEP_JOB=ID_N`` in their environment; those that dropped it are found as members of the
    sessions and as children of those that have it. Where the environment is another user's, the command line must do.
    """
    processes = list_processes()
    prefix = f"HPCSWEEP_JOB={job}_".encode()
    elements: dict[int, set[int]] = {}
    for pid in processes:
        number = read_element(pid, prefix, tag)
        if number is not None:
            elements.setdefault(number, set()).add(pid)
    return {number: add_relatives(pids, processes) for number, pids in elements.items()}


def add_relatives(pids: set[int], processes: dict[int, Process]) -> set[int]:
    """The processes, their children, and all members of their sessions, to the last."""
    while True:
        sessions = {processes[pid].session for pid in pids}
        more = {other.pid for other in processes.values() if other.session in sessions or other.parent in pids}
        if more - {os.getpid()} <= pids:
            return pids
        pids = pids | more - {os.getpid()}


def read_element(pid: int, prefix: bytes, tag: str) -> int | None:
    """The element that a process belongs to, by its own environment or command line."""
    try:
        for entry in read_bytes(f"/proc/{pid}/environ").split(b"\0"):
            if entry.startswith(prefix) and entry[len(prefix) :].isdigit():
                return int(entry[len(prefix) :])
    except PermissionError:
        words = read_bytes(f"/proc/{pid}/cmdline").split(b"\0")
        if tag and words[0] == b"bash" and words[2:3] == [tag.encode()] and words[3].isdigit():
            return int(words[3])
    except OSError:  # it ended meanwhile
        pass
    return None


def send(pids: set[int], number: int) -> None:
    """One signal to many processes, some of which may be gone."""
    for pid in pids:
        send_one(pid, number)


def send_one(pid: int, number: int) -> None:
    """A signal to a process, if it is there and ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def kill_elements(job: str, ranges: Ranges) -> None:
    """Kill all that belongs to the elements, again and again until a look finds nothing more."""
    deadline = time.monotonic() + UNKILLABLE_S
    while time.monotonic() < deadline:
        pids = {pid for number, pids in find_elements(job).items() if is_in_ranges(number, ranges) for pid in pids}
        if not pids:
            return
        send(pids, signal.SIGKILL)
        time.sleep(0.01)


# ---- the GPUs of this machine ----


class Grant:
    """What an element got: the variables that tell it, and the open file whose locks say that it is taken (None: no GPU)."""

    def __init__(self, fd: int | None, variables: dict[str, str]) -> None:
        self.fd = fd
        self.variables = variables

    def close(self) -> None:
        """Give it back, as far as this process has it."""
        if self.fd is not None:
            os.close(self.fd)


class Devices:
    """What the file ``devices`` holds: the variable's name, then ``NAMES=LOCKS`` for each group (``0,1=GPU-a,GPU-b``)."""

    def __init__(self, text: str) -> None:
        self.variable, *groups = text.split()
        self.groups = [(names, locks.split(",")) for names, _, locks in (group.partition("=") for group in groups)]

    def take(self, folder: str, gpus: float) -> Grant | str:
        """What an element needs, locked; or why it has to wait. One at a time does this, so that nobody gets a half.

        Raises:
            OSError: there is no lock file, and none can be made.
        """
        fd = open_lock_file(folder)
        try:
            chosen = self.lock(fd, gpus) if pass_gate(fd) else "Resources"
            os.utime(fd)
        except OSError:
            os.close(fd)
            raise
        if isinstance(chosen, str):
            os.close(fd)
            return chosen
        # The numbers of CUDA_VISIBLE_DEVICES are by speed otherwise, and not those of nvidia-smi.
        order = {"CUDA_DEVICE_ORDER": os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")}
        names = ",".join(chosen)
        variables = {"HPCSWEEP_GPUS": names, "HPCSWEEP_GPU_GROUPS": ";".join(chosen), self.variable: names}
        return Grant(fd, variables | (order if self.variable.startswith("CUDA") else {}))

    def find_obstacle(self, folder: str, gpus: float) -> str:
        """Why nobody could have so much now; '' where it is free. Nothing is taken.

        Raises:
            OSError: as ``take``.
        """
        fd = open_lock_file(folder)
        try:
            free = self.look(fd)
        finally:
            os.close(fd)
        return say_busy(free, gpus) if choose_groups(free, gpus) is None else ""

    def look(self, fd: int) -> list[tuple[str, list[Ranges]]]:
        """Each group, and of each of its devices the bytes that nobody has locked."""
        return [(names, [find_free(fd, *region_of(lock)) for lock in locks]) for names, locks in self.groups]

    def lock(self, fd: int, gpus: float) -> list[str] | str:
        """Choose and lock behind the gate, and leave it: the names of what was taken, or why nothing was."""
        free = self.look(fd)
        chosen = choose_groups(free, gpus)
        if chosen is None:
            return say_busy(free, gpus)
        for _, rooms in chosen:
            for room in rooms:
                for low, high in first_bytes(room, share_of(gpus)):
                    lock_bytes(fd, fcntl.F_WRLCK, low, high)
        lock_bytes(fd, fcntl.F_UNLCK, *GATE)
        return [names for names, _ in chosen]


def share_of(gpus: float) -> int:
    """How much of a GPU's bytes an element needs; never so much that fewer fit than the fraction says (three times 0.33333)."""
    if gpus >= 1:
        return WHOLE_GPU
    return min(int(gpus * WHOLE_GPU + 0.999), WHOLE_GPU // int(1 / gpus + 1e-9))


def region_of(lock: str) -> tuple[int, int]:
    """The bytes that stand for a device: the first, and the one behind the last. That two have the same is no harm but a wait."""
    start = (1 + zlib.crc32(lock.encode())) * WHOLE_GPU
    return start, start + WHOLE_GPU


def find_free(fd: int, low: int, high: int) -> Ranges:
    """The pieces of ``low`` to ``high`` (without it) that nobody has locked."""
    if low >= high:
        return []
    flock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, low, high - low, 0)
    kind, _, start, length, _ = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_OFD_GETLK, flock))
    if kind == fcntl.F_UNLCK:
        return [(low, high)]
    end = start + length if length else high
    return [*find_free(fd, low, min(start, high)), *find_free(fd, max(low, end), high)]


def lock_bytes(fd: int, kind: int, low: int, high: int) -> None:
    """Lock or unlock bytes for this open file, whoever has it open; never waits.

    Raises:
        BlockingIOError: somebody else has some of them.
    """
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, low, high - low, 0))


def pass_gate(fd: int) -> bool:
    """Be the only one who takes GPUs; False where others are all the time. Closing the file leaves again."""
    for _ in range(GATE_TRIES):
        if is_locked_for_us(fd, *GATE):
            return True
        time.sleep(0.005)
    return False


def is_locked_for_us(fd: int, low: int, high: int) -> bool:
    """Lock bytes, if nobody else has one of them."""
    try:
        lock_bytes(fd, fcntl.F_WRLCK, low, high)
    except BlockingIOError:
        return False
    return True


def room_of(pieces: Ranges) -> int:
    """How many bytes the pieces have together."""
    return sum(high - low for low, high in pieces)


def first_bytes(pieces: Ranges, count: int) -> Ranges:
    """The first so many bytes of the pieces."""
    taken: Ranges = []
    for low, high in pieces:
        part = min(count, high - low)
        taken += [(low, low + part)] if part else []
        count -= part
    return taken


def has_room(rooms: list[Ranges], gpus: float) -> bool:
    """Whether each device of a group has as much as an element needs of it."""
    return all(room_of(room) >= share_of(gpus) for room in rooms)


def choose_groups(free: list[tuple[str, list[Ranges]]], gpus: float) -> list[tuple[str, list[Ranges]]] | None:
    """The groups that an element gets: the first that are free; for a fraction the fullest device that still has room for it."""
    fitting = [group for group in free if has_room(group[1], gpus)]
    if gpus < 1:
        return [min(fitting, key=lambda group: room_of(group[1][0]))] if fitting else None
    count = int(gpus)
    return fitting[:count] if len(fitting) >= count else None


def say_busy(free: list[tuple[str, list[Ranges]]], gpus: float) -> str:
    """``waits for a GPU (0-3 are busy)``: which have no room for an element."""
    names = [names for names, rooms in free if not has_room(rooms, gpus)]
    needed = "a GPU" if gpus == 1 else f"{gpus:g} of a GPU" if gpus < 1 else f"{gpus:g} GPUs"
    if all(name.isdigit() for name in names):
        busy = format_ranges(join_numbers(sorted(map(int, names)))).replace(",", ", ")
    else:
        is_short = len(names) <= 3 and all(len(name) <= 12 for name in names)
        busy = "; ".join(names) if is_short else f"{len(names)} of {len(free)}"
    return f"waits for {needed} ({busy} {'is' if len(names) == 1 else 'are'} busy)" if names else f"waits for {needed}"


def join_numbers(numbers: list[int]) -> Ranges:
    """``[0, 1, 3]`` -> ``[(0, 1), (3, 3)]``."""
    joined: Ranges = []
    for number in numbers:
        if joined and number == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], number)
        else:
            joined.append((number, number))
    return joined


def find_lock_folder(folder: str) -> tuple[str, str]:
    """Where this machine's GPUs are locked, and what has to be said of it. Where nobody shares one with us, a folder of our own.

    Raises:
        QueueError: there is no folder for it.
    """
    try:
        check_locks(folder)
    except OSError as error:
        own = f"{folder}-{os.geteuid()}"
        try:
            check_locks(own)
            if os.lstat(own).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "it is somebody else's", own)
        except OSError as also:
            raise QueueError(
                f"GPUs cannot be given out: neither {folder} ({error.strerror}) nor {own} ({also.strerror}) can hold locks"
            ) from also
        return own, f"{folder} cannot be used ({error.strerror}): what other users of this machine run on its GPUs is not seen"
    return folder, ""


def check_locks(folder: str) -> None:
    """See whether a folder's lock file is there, and can be locked.

    Raises:
        OSError: why not.
    """
    fd = open_lock_file(folder)
    try:
        find_free(fd, *GATE)
    finally:
        os.close(fd)


def open_lock_file(folder: str) -> int:
    """The file of locks, made where it is not there, for all users. Links are not followed, and nothing is written or removed.

    Raises:
        OSError: something else is in its place, or it is not for us.
    """
    mask = os.umask(0)  # a moment in which it is ours alone would be an error for others
    try:
        make_folder(folder)
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fd = None
            while fd is None:
                # Without O_CREAT first: in a sticky folder that is refused for the file of another (fs.protected_regular).
                fd = open_beside(folder_fd, 0) or open_beside(folder_fd, os.O_CREAT | os.O_EXCL)
        finally:
            os.close(folder_fd)
    finally:
        os.umask(mask)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no file", f"{folder}/{LOCK_FILE}")
    return fd


def open_beside(folder_fd: int, making: int) -> int | None:
    """Open the lock file in a folder; None where it is not there, or to be made and there."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(LOCK_FILE, flags | making, 0o666, dir_fd=folder_fd)
    except FileNotFoundError:
        if making:  # the folder itself was removed
            raise
    except FileExistsError:
        pass
    return None


def make_folder(folder: str) -> None:
    """A folder as /tmp is: all users may make files there, and nobody may remove another's."""
    try:
        os.mkdir(folder, 0o1777)
    except FileExistsError:
        return


# ---- what a queue says of itself ----


class Record:
    """The facts of one array, as its queue wrote them into ``job-ID``."""

    def __init__(self, job: str, tag: str, size: int) -> None:
        self.job = job
        self.tag = tag
        self.host = os.uname().nodename
        self.boot = read_boot_id()
        self.size = size
        self.pending: Ranges = [(0, size - 1)] if size else []
        self.running: dict[int, tuple[int, float]] = {}  # element -> pid, epoch of its start
        self.reason = "Resources"
        self.control_bytes = 0

    def format(self) -> str:
        """The file's text."""
        running = " ".join(f"{number}:{pid}:{start:.3f}" for number, (pid, start) in self.running.items())
        fields = {
            "tag": self.tag,
            "host": self.host,
            "boot": self.boot,
            "size": self.size,
            "pending": format_ranges(self.pending),
            "running": running,
            "reason": self.reason,
            "control_bytes": self.control_bytes,
            "end": "",  # the last line says that the text is whole
        }
        return "".join(f"{name} {value}\n" for name, value in fields.items())


def parse_record(job: str, text: str) -> Record | None:
    """Read what ``Record.format`` wrote; None for a text that is not whole.

    Raises:
        QueueError: the text is whole, and damaged.
    """
    fields = dict(line.partition(" ")[::2] for line in text.split("\n"))
    if "end" not in fields:
        return None
    try:
        record = Record(job, fields["tag"], int(fields["size"]))
        record.host, record.boot, record.reason = fields["host"], fields["boot"], fields["reason"]
        record.pending = parse_ranges(fields["pending"])
        record.control_bytes = int(fields["control_bytes"])
        for entry in fields["running"].split():
            number, pid, start = entry.split(":")
            record.running[int(number)] = (int(pid), float(start))
    except (KeyError, ValueError, QueueError):
        raise QueueError(f"what the queue of {job} says of itself is damaged: job-{job} in its folder") from None
    return record


def read_record(directory: str, job: str) -> Record | None:
    """One array's record; None when it has ended."""
    try:
        return parse_record(job, read_bytes(f"{directory}/job-{job}").decode())
    except FileNotFoundError:
        return None


def list_jobs(directory: str) -> list[str]:
    """The ids of all arrays of a queue folder that have not ended in good order."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(name[len("job-") :] for name in names if name.startswith("job-"))


def check_host(record: Record) -> None:
    """Refuse to speak for processes of another machine (one that booted since is the same machine: they are gone).

    Raises:
        QueueError: with exit code 4.
    """
    if record.boot != read_boot_id() and record.host != os.uname().nodename:
        raise QueueError(f"the queue runs on {record.host}", 4)


def mark_outdated(path: str) -> None:
    """Give a record a date that no other has: what it says is not all that there is to say."""
    try:
        os.utime(path, (0, 0))
    except OSError:
        return


def is_outdated(path: str) -> bool:
    """Whether the queue has more to say than its record does, and could not write it."""
    try:
        return os.stat(path).st_mtime == 0
    except OSError:
        return False


def write_whole(path: str, text: str) -> None:
    """Write beside and rename, so that a reader never sees a half."""
    beside = f"{path}.{os.getpid()}.tmp"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        try:
            write_fully(fd, text)
        finally:
            os.close(fd)
        os.rename(beside, path)
    except OSError as error:
        remove_quietly(beside)
        raise OSError(error.errno, error.strerror, path) from error


def write_fully(fd: int, text: str) -> None:
    """All of a text; the system may take a part only, and then says of the rest why not."""
    rest = text.encode()
    while rest:
        rest = rest[os.write(fd, rest) :]


# ---- the queue ----


class Queue:
    """The process that starts one array's elements. It sleeps until a child ends, it is told something, or time is up."""

    def __init__(self, options: Options, job: str) -> None:
        self.directory = options.one("dir")
        self.script = options.one("script")
        self.at_once = int(options.one("at-once", "0"))
        self.after = set(options.many("after"))
        self.is_held = options.has("hold")
        self.record = Record(job, options.one("tag"), int(options.one("size")))
        self.log_fd = os.open(options.one("log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.folder_identity = identify(self.directory)
        self.slots: dict[int, tuple[int, int]] = {}  # element -> slot, its locked file
        self.gpus = float(options.one("gpus", "0"))  # what each element needs
        self.locks = find_lock_folder(options.one("locks", LOCK_FOLDER))[0] if self.gpus else ""
        self.grants: dict[int, Grant] = {}  # by element
        self.touched_at = time.monotonic()
        self.ended_at: dict[int, float] = {}  # elements whose leftovers were not looked for yet
        self.is_told_to_end = False
        self.kill_at: float | None = None
        self.written = ""
        self.is_disk_full = False
        self.wake_fd, wake_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.note_signal)
        signal.set_wakeup_fd(wake_write_fd, warn_on_full_buffer=False)

    def note_signal(self, number: int, _frame: object) -> None:
        """The wake-up pipe does the rest; only TERM (the machine goes down) means something by itself."""
        self.is_told_to_end |= number == signal.SIGTERM

    def run(self) -> None:
        """Until nothing is pending or running, and nothing is left over."""
        while self.record.pending or self.record.running:
            if self.is_told_to_end or identify(self.directory) != self.folder_identity:  # the run was removed, and we with it
                self.give_up()
            self.read_control()
            self.reap()
            self.start_what_fits()
            self.publish()
            self.kill_leftovers()
            self.touch_locks()
            self.sleep()
            self.reap()
        while self.ended_at:
            self.kill_leftovers(is_end=True)

    def give_up(self) -> None:
        """Start nothing more, and end what runs."""
        self.record.pending = []
        if self.kill_at is None:
            self.kill_at = time.monotonic() + DEFAULT_GRACE_S
            send({pid for pid, _ in self.record.running.values()}, signal.SIGTERM)

    # -- what runs --

    def start_what_fits(self) -> None:
        """Start elements while there are slots for them."""
        record = self.record
        while record.pending:
            record.reason = self.find_obstacle()
            slot = self.take_slot() if not record.reason else None
            if slot is None:
                record.reason = record.reason or self.find_gpus_obstacle() or "Resources"
                return
            grant = self.take_gpus()
            if isinstance(grant, str):
                os.close(slot[1])
                record.reason = grant
                return
            (number, last), *rest = record.pending
            try:
                pid = self.start(number, slot[1], grant)
            except OSError:  # no more processes for now
                os.close(slot[1])
                grant.close()
                record.reason = "Resources"
                return
            record.pending = [*([(number + 1, last)] if number < last else []), *rest]
            self.slots[number] = slot
            self.grants[number] = grant
            record.running[number] = (pid, time.time())

    def find_obstacle(self) -> str:
        """Why nothing may start now, in one word; nothing when it may."""
        if self.is_held:
            return "Held"
        if self.is_disk_full:  # nobody would hear of it, and it could not even say itself that it began
            return "Resources"
        self.after = {job for job in self.after if is_queue_alive(job) or find_elements(job)} if self.after else set()
        if self.after:
            return "Dependency"
        return "JobArrayTaskLimit" if 0 < self.at_once <= len(self.record.running) else ""

    def take_slot(self) -> tuple[int, int] | None:
        """A slot that nobody has: its number, and its file, locked as long as anybody has it open."""
        used = {slot for slot, _ in self.slots.values()}
        for slot in range(read_jobs(self.directory)):
            if slot in used:
                continue
            try:
                fd = os.open(f"{self.directory}/slot-{slot}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError:  # a full disk: then the limit holds for this array alone
                try:
                    return slot, os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
                except OSError:  # too many files are open
                    return None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            except OSError:  # a file system without locks: likewise
                return slot, fd
            return slot, fd
        return None

    def take_gpus(self) -> Grant | str:
        """The GPUs of one more element; or why it has to wait."""
        if not self.gpus:
            return Grant(None, {})
        try:
            return read_devices(self.directory).take(self.locks, self.gpus)
        except (OSError, ValueError):  # too many files are open, or somebody has put something else in a file's place
            return "Resources"

    def find_gpus_obstacle(self) -> str:
        """What else an element would wait for when there is no slot; '' for nothing."""
        try:
            return read_devices(self.directory).find_obstacle(self.locks, self.gpus) if self.gpus else ""
        except (OSError, ValueError):
            return ""

    def start(self, number: int, slot_fd: int, grant: Grant) -> int:
        """Start one element in a session of its own, with nothing of ours but its slot and its GPUs."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HPCSWEEP_")}
        environment |= {
            "HPCSWEEP_ELEMENT": str(number),
            "HPCSWEEP_JOB": f"{self.record.job}_{number}",
            "HPCSWEEP_SLOT_FD": str(SLOT_FD),
            **({} if grant.fd is None else {"HPCSWEEP_GPUS_FD": str(GPUS_FD)}),
            **grant.variables,
        }
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            reset_signals()
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(self.log_fd, 1)
            os.dup2(self.log_fd, 2)
            os.dup2(slot_fd, SLOT_FD)
            if grant.fd is not None:
                os.dup2(grant.fd, GPUS_FD)
            os.execvpe("bash", ["bash", self.script, self.record.tag, str(number)], environment)  # noqa: S606, S607 -- the user's bash
        finally:
            os._exit(127)

    def reap(self) -> None:
        """Take note of the elements that ended, and wake the other queues of this folder: there is a slot for them."""
        numbers = {pid: number for number, (pid, _) in self.record.running.items()}
        ended: list[int] = []
        while numbers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            number = numbers.get(pid)
            if number is not None:
                if os.WIFSIGNALED(status):  # its program has nobody any more; it has to end before its element has ended
                    kill_elements(self.record.job, [(number, number)])
                del self.record.running[number]
                os.close(self.slots.pop(number)[1])
                self.ended_at[number] = time.monotonic()
                ended.append(number)
        if ended:
            self.give_back(ended)
            wake_queues(self.directory, except_job=self.record.job)

    def give_back(self, ended: list[int]) -> None:
        """Give the GPUs of elements back; not yet of one that has left something behind, which may still have memory there."""
        is_asked = any(self.grants[number].fd is not None for number in ended)
        left = find_elements(self.record.job) if is_asked else {}
        for number in ended:
            if number not in left:
                self.grants.pop(number).close()

    def forget(self, number: int) -> None:
        """Nothing of an element that has ended is left, or nothing can be done about it."""
        del self.ended_at[number]
        if number in self.grants:
            self.grants.pop(number).close()
            wake_queues(self.directory)

    def kill_leftovers(self, *, is_end: bool = False) -> None:
        """End what elements left behind, as a scheduler does; all at once, now and then, for a look at all processes costs."""
        now = time.monotonic()
        if self.kill_at is not None and now >= self.kill_at:
            kill_elements(self.record.job, [(number, number) for number in self.record.running])
        if not self.ended_at or (not is_end and now < min(self.ended_at.values()) + LEFTOVERS_GRACE_S):
            return
        alive = find_elements(self.record.job)
        for number, ended_at in list(self.ended_at.items()):
            if number not in alive:
                self.forget(number)
            elif now >= ended_at + LEFTOVERS_GRACE_S:
                send(alive[number], signal.SIGKILL)
                if now >= ended_at + LEFTOVERS_GRACE_S + UNKILLABLE_S:
                    self.forget(number)
        if is_end and self.ended_at:
            time.sleep(0.05)

    def touch_locks(self) -> None:
        """Keep the lock file from being taken for one that nobody needs any more."""
        fd = next((grant.fd for grant in self.grants.values() if grant.fd is not None), None)
        if fd is not None and time.monotonic() >= self.touched_at + TOUCH_S:
            self.touched_at = time.monotonic()
            os.utime(fd)

    # -- what is told and asked --

    def read_control(self) -> None:
        """Do what was written into the control file since the last look."""
        try:
            with open(f"{self.directory}/control-{self.record.job}", "rb") as stream:
                stream.seek(self.record.control_bytes)
                told = stream.read()
        except OSError:
            return
        whole = told[: told.rfind(b"\n") + 1]
        for line in whole.decode().splitlines():
            if not line.endswith(";"):
                continue
            verb, _, value = line[:-1].partition(" ")
            if verb == "cancel":
                self.record.pending = subtract_ranges(self.record.pending, parse_ranges(value))
            elif verb in ("hold", "release"):
                self.is_held = verb == "hold"
            elif verb == "throttle":
                self.at_once = int(value)
        self.record.control_bytes += len(whole)

    def publish(self) -> None:
        """Write the record when it says something new. On a full disk the old one is marked, which needs no room."""
        path, text = f"{self.directory}/job-{self.record.job}", self.record.format()
        if text != self.written and identify(self.directory) == self.folder_identity:
            try:
                write_whole(path, text)
            except OSError:
                self.is_disk_full = True
                mark_outdated(path)
                return
            self.written = text
            self.is_disk_full = False

    def sleep(self) -> None:
        """Until a signal (a child's end, somebody's word), the end of what we wait for, or the time of the next look."""
        waits_s = [FOLDER_CHECK_S]
        if self.record.pending and (self.record.reason not in NEVER_MIND or self.after):
            waits_s.append(POLL_S)
        if self.ended_at:
            waits_s.append(min(self.ended_at.values()) + LEFTOVERS_GRACE_S - time.monotonic())
        if self.kill_at is not None:
            waits_s.append(self.kill_at - time.monotonic())
        watched = [fd for fd in map(open_pidfd, self.after) if fd is not None]
        ready, _, _ = select.select([self.wake_fd, *watched], [], [], max(0.01, min(waits_s)))
        for fd in watched:
            os.close(fd)
        if self.wake_fd in ready:
            os.read(self.wake_fd, 65536)


def identify(directory: str) -> tuple[int, int] | None:
    """Which folder is at a path now; None when there is none."""
    try:
        status = os.stat(directory)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def read_jobs(directory: str) -> int:
    """How many elements run at once over all arrays of the folder: what was said, else the cores we may use."""
    try:
        return max(1, int(read_bytes(f"{directory}/jobs")))
    except (OSError, ValueError):
        return len(os.sched_getaffinity(0))


def read_devices(directory: str) -> Devices:
    """The GPUs that elements of the folder may have.

    Raises:
        OSError, ValueError: the file cannot be read, or is not what was written.
    """
    return Devices(read_bytes(f"{directory}/devices").decode())


def open_pidfd(job: str) -> int | None:
    """A descriptor that becomes readable when the queue ends; None where the system has none (it is asked again then)."""
    try:
        return os.pidfd_open(pid_of(job))
    except (AttributeError, OSError, ValueError):
        return None


def wake_queues(directory: str, *, except_job: str = "") -> None:
    """Let all queues of a folder look around."""
    for job in list_jobs(directory):
        if job != except_job and is_queue_alive(job):
            send({pid_of(job)}, signal.SIGUSR1)


def reset_signals() -> None:
    """What we ignore or catch is no business of the programs that we start."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


# ---- the commands ----


class Options:
    """A command's words: ``--name value`` options, flags, and the rest."""

    def __init__(self, words: list[str]) -> None:
        self.rest: list[str] = []
        self.values: dict[str, list[str]] = {}
        submitting = ("tag", "size", "script", "log", "chdir", "jobs", "at-once", "after", "then", "devices", "gpus", "locks")
        names = ("dir", "grace", "ready-fd", *submitting)
        while words:
            word = words.pop(0)
            name = word[2:]
            if not word.startswith("--"):
                self.rest.append(word)
            elif name in ("hold", "pending"):
                self.values[name] = []
            elif name in names and words:
                self.values.setdefault(name, []).append(words.pop(0))
                while name == "after" and words and not words[0].startswith("--"):
                    self.values[name].append(words.pop(0))
            else:
                raise QueueError(f"unknown option, or one without its value: {word}", 2)

    def has(self, name: str) -> bool:
        """Whether the flag was given."""
        return name in self.values

    def many(self, name: str) -> list[str]:
        """All values of an option that may be repeated."""
        return self.values.get(name, [])

    def one(self, name: str, default: str | None = None) -> str:
        """An option's value."""
        if name in self.values:
            return self.values[name][-1]
        if default is None:
            raise QueueError(f"--{name} is missing", 2)
        return default


def submit(options: Options, words: list[str]) -> int:
    """Leave a detached queue behind, and print its id when it is recorded."""
    directory = options.one("dir")
    os.makedirs(directory, exist_ok=True)
    if options.has("jobs"):
        write_whole(f"{directory}/jobs", f"{int(options.one('jobs'))}\n")
    if options.has("devices"):
        write_whole(f"{directory}/devices", "\n".join([*options.one("devices").split(), ""]))
    if float(options.one("gpus", "0")):
        if not os.path.exists(f"{directory}/devices"):
            raise QueueError("--gpus needs --devices", 2)
        said = find_lock_folder(options.one("locks", LOCK_FOLDER))[1]
        sys.stderr.write(f"{said}\n" if said else "")
    for name in ("tag", "size", "script", "log", "chdir"):
        options.one(name)
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        detach(write_fd, words)
    os.close(write_fd)
    os.waitpid(pid, 0)
    answer = b""
    while part := os.read(read_fd, 4096):
        answer += part
    if not answer.startswith(b"id "):
        raise QueueError(answer.decode(errors="replace").strip() or "the queue ended before it had begun")
    sys.stdout.write(answer[3:].decode())
    return 0


def detach(ready_fd: int, words: list[str]) -> None:
    """Become the queue: a session without a terminal, nobody's child, with nobody's files; a fresh start of this program.

    The fresh start is for the environment: that of a task whose command submits would mark the queue as a part of the task.
    """
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null_fd = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null_fd, fd)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != ready_fd:  # the run's lock among them
                close_quietly(int(name))
        os.set_inheritable(ready_fd, True)  # noqa: FBT003 -- the standard library's signature
        reset_signals()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HPCSWEEP_")}
        argv = [sys.executable, "-I", "-S", os.path.abspath(__file__), "serve", "--ready-fd", str(ready_fd), *words]
        os.execve(argv[0], argv, environment)  # noqa: S606 -- no shell is what we want
    finally:
        os._exit(1)


def close_quietly(fd: int) -> None:
    """Close what may be closed already."""
    try:
        os.close(fd)
    except OSError:
        return


def remove_quietly(path: str) -> None:
    """Remove what may be gone already."""
    try:
        os.unlink(path)
    except OSError:
        return


def say_ready(fd: int, answer: str) -> None:
    """Answer the command that submitted; when that is gone, the record is there to be found."""
    try:
        os.write(fd, f"{answer}\n".encode())
    except BrokenPipeError:
        return


def serve(options: Options) -> int:
    """Be the queue of one array, from its record to the command that follows it."""
    ready_fd = int(options.one("ready-fd"))
    os.set_inheritable(ready_fd, False)  # noqa: FBT003 -- the standard library's signature
    try:
        me = Process(os.getpid(), read_bytes("/proc/self/stat"))
        # From here on it is no longer seen from where it was submitted, so the folder's path must not depend on that.
        for name in ("dir", "script", "log"):
            options.values[name] = [os.path.abspath(options.one(name))]
        os.chdir(options.one("chdir"))
        queue = Queue(options, f"{me.pid}-{me.start}-{read_boot_id()}")
        write_whole(f"{queue.directory}/job-{queue.record.job}", queue.record.format())
    except (QueueError, OSError, ValueError) as error:
        say_ready(ready_fd, describe(error))
        return 1
    say_ready(ready_fd, f"id {queue.record.job}")
    os.close(ready_fd)
    queue.run()
    is_gone = identify(queue.directory) != queue.folder_identity
    for name in ("job", "control"):
        remove_quietly(f"{queue.directory}/{name}-{queue.record.job}")
    if options.has("then") and not is_gone:
        import json  # noqa: PLC0415 -- slow to load, and only needed here

        argv = json.loads(options.one("then"))
        if os.fork() == 0:
            start_following(argv, queue.log_fd)
    return 0


def start_following(argv: list[str], log_fd: int) -> None:
    """Become the command that follows an array, detached as the queue was."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        reset_signals()
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        os.execvp(argv[0], argv)  # noqa: S606 -- no shell is what we want
    finally:
        os._exit(127)


def show_live(options: Options) -> int:
    """Print what is pending and running."""
    directory, tags = options.one("dir"), [*options.many("tag"), *options.rest]
    lines = []
    for job in list_jobs(directory):
        record = read_record(directory, job)
        if record is None or (tags and record.tag not in tags):
            continue
        check_host(record)
        now = time.time()
        if is_queue_alive(job):
            if is_outdated(f"{directory}/job-{job}"):
                raise QueueError(f"the queue of {job} cannot write down what runs (disk full?)", 4)
            pending = record.pending
            running = {number: now - start for number, (_, start) in record.running.items()}
        else:  # it was killed: what it had not started never will be, what it had may still run
            pending = []
            running = {
                number: now - record.running.get(number, (0, now))[1]
                for number in (find_elements(job, record.tag) if record.boot == read_boot_id() else ())
            }
        if pending:
            lines.append(f"{job}|{format_ranges(pending)}|PENDING|{record.reason}|{record.tag}||0")
        lines += [
            f"{job}|{number}|RUNNING||{record.tag}|{record.host}|{int(elapsed_s)}"
            for number, elapsed_s in sorted(running.items())
        ]
    sys.stdout.write("".join(line + "\n" for line in lines))
    return 0


def cancel(options: Options) -> int:
    """Drop what is pending, end what runs: TERM to the runners, and after the grace KILL to all that is theirs.

    ``--pending``: what runs goes on.
    """
    directory, job = options.one("dir"), options.rest[0]
    record = find_record(options)
    if record is None:
        return 0
    ranges = parse_ranges(options.rest[1]) if len(options.rest) > 1 else [(0, record.size - 1)]
    try:
        told = tell(directory, job, f"cancel {format_ranges(ranges)}")
        if options.has("pending"):
            return 0
    except OSError:  # a full disk; that an array is to end can be told without one
        if len(options.rest) > 1 or options.has("pending"):
            raise
        told = record
        send({pid_of(job)}, signal.SIGTERM)
    record = told or record
    deadline = time.monotonic() + float(options.one("grace", str(DEFAULT_GRACE_S)))
    if told:
        leaders = {pid for number, (pid, _) in record.running.items() if is_in_ranges(number, ranges)}
    else:
        found = {pid for number, pids in find_elements(job).items() if is_in_ranges(number, ranges) for pid in pids}
        # Of an element whose runner is gone too, all get the signal that the runner would pass on.
        leaders = {pid for pid in found if (process := read_process(pid)) and process.session == pid} or found
    send(leaders, signal.SIGTERM)
    send(leaders, signal.SIGCONT)
    while any(map(read_process, leaders)) and time.monotonic() < deadline:
        time.sleep(0.01)
    kill_elements(job, ranges)
    return 0


def change(verb: str, options: Options) -> int:
    """Hold, release, throttle: a word to the queue, done when this returns."""
    directory, job = options.one("dir"), options.rest[0]
    if find_record(options) is None:
        raise QueueError(f"no array {job} is queued here; it has ended")
    value = f" {int(options.rest[1])}" if verb == "throttle" else ""
    if tell(directory, job, verb + value) is None:
        raise QueueError(f"the queue of {job} was killed: nothing of it is pending any more")
    return 0


def find_record(options: Options) -> Record | None:
    """The record of the array that a command is about; None when it has ended, or is not the one with that tag."""
    record = read_record(options.one("dir"), options.rest[0])
    if record is None or record.tag != options.one("tag"):
        return None
    check_host(record)
    return record


def tell(directory: str, job: str, line: str) -> Record | None:
    """Tell a queue something, and wait until its record says that it heard; None when it is not alive."""
    if not is_queue_alive(job):
        return None
    fd = os.open(f"{directory}/control-{job}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        # The line before may be torn, for the disk was full: it is closed, and what has no end mark is not done.
        write_fully(fd, f"\n{line};\n")
        told_bytes = os.lseek(fd, 0, os.SEEK_CUR)
    finally:
        os.close(fd)
    deadline = time.monotonic() + ANSWER_S
    while is_queue_alive(job):
        send({pid_of(job)}, signal.SIGUSR1)
        time.sleep(0.005)
        record = read_record(directory, job)
        if record is not None and record.control_bytes >= told_bytes:
            return record
        if time.monotonic() > deadline:
            raise QueueError(f"the queue of {job} does not answer (disk full?)")
    return None


def describe(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.strerror:
        where = os.fsdecode(error.filename or "")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"cannot write {where or 'to the queue'}: the disk is full"
        return f"{error.strerror}: {where}" if where else error.strerror
    return str(error)


def run(words: list[str]) -> int:
    """Run one command of the queue."""
    verb = words[0] if words else ""
    options = Options(words[1:])
    needed = {"cancel": 1, "hold": 1, "release": 1, "throttle": 2, "jobs": 1}.get(verb, 0)
    if len(options.rest) < needed:
        raise QueueError(f"{verb} needs {needed} more words", 2)
    if verb == "submit":
        return submit(options, words[1:])
    if verb == "serve":
        return serve(options)
    if verb == "live":
        return show_live(options)
    if verb == "cancel":
        return cancel(options)
    if verb in ("hold", "release", "throttle"):
        return change(verb, options)
    if verb == "jobs":
        write_whole(f"{options.one('dir')}/jobs", f"{int(options.rest[0])}\n")
        wake_queues(options.one("dir"))
        return 0
    raise QueueError(f"unknown command {verb!r}: submit, live, cancel, hold, release, throttle or jobs", 2)


def main() -> int:
    """The command line; a fault is one line on standard error."""
    try:
        return run(sys.argv[1:])
    except QueueError as error:
        sys.stderr.write(f"localqueue: {error}\n")
        return error.exit_code
    except (OSError, ValueError) as error:
        sys.stderr.write(f"localqueue: {describe(error)}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
