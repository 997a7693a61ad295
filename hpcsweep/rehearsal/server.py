"""The process behind a rehearsal's commands: one for a folder, which runs the jobs and keeps what it knows on disk.

Nothing is answered that is not on disk. A server that is killed is started again by the next command, and goes on: elements
that ran meanwhile are found again, those whose processes nobody watches any more are lost as on a lost node.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import importlib
import json
import os
import pwd
import selectors
import signal
import socket
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from hpcsweep.rehearsal.desk import Desk
from hpcsweep.rehearsal.face import Answer, Call, Face, NeedsStdinError, Place, Plan, make_settings
from hpcsweep.rehearsal.faults import Faults, parse_fault
from hpcsweep.rehearsal.jobs import Element, Job, Signal, Start
from hpcsweep.rehearsal.lines import Connection
from hpcsweep.rehearsal.mom import Mom, deliver
from hpcsweep.rehearsal.processes import ELEMENT_VARIABLE, NAME_VARIABLE
from hpcsweep.rehearsal.storage import Log

FACES = {"pbs": "openpbs", "torque": "torque", "slurm": "slurm"}
"""Scheduler -> the module of its face."""
CONTROL = "hpcsweep-rehearsal"
"""The program by which the rehearsal itself is told something."""
LONGEST_ADDRESS = 100
ADOPTED_POLL_S = 0.1  # elements of a server that was killed are no children of this one: nobody signals their ends
FOLDERS = ("bin", "spool", "runs", "tmp", "undelivered")


def load_face(name: str) -> Face:
    """The face of a scheduler."""
    face: Face = importlib.import_module(f"hpcsweep.rehearsal.{FACES[name]}").FACE
    return face


def place_of(folder: Path) -> Place:
    """Where things are in a rehearsal's folder."""
    return Place(folder=str(folder), **{name: str(folder / name) for name in FOLDERS if name != "runs"})


@dataclasses.dataclass(kw_only=True)
class Pending:
    """A call whose client waits: for the end of a hang, for its time, or for a job."""

    connection: Connection
    message: dict[str, Any]
    answer: Answer | None = None
    at: float = 0.0
    """When it is answered; for one that hangs: when its client loses patience."""
    is_alone: bool = False
    """It hangs by itself, while the scheduler goes on."""


class Server:
    """One rehearsal's server."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "rehearsal.json").read_text())
        self.folder = folder
        self.name: str = facts["scheduler"]
        self.face = load_face(self.name)
        self.settings = make_settings(self.face.table, facts["settings"])
        self.desk = Desk(self.face, self.settings)
        self.mom = Mom(folder, self.desk.cluster.rules.kill_reach)
        self.place = place_of(folder)
        self.log = Log(folder / "state.jsonl")
        self.selector = selectors.DefaultSelector()
        self.waiting: list[Pending] = []
        self.hung: list[Pending] = []
        self.is_ending = False
        self._known_faults = ""
        self._has_adopted = False

    # -- life --

    def restore(self) -> None:
        """Become what the server before this one was."""
        records = self.log.read()
        self.desk.cluster.restore(record for record in records if record["kind"] != "faults")
        for record in records:
            if record["kind"] == "faults":
                self.desk.faults = Faults.from_plain(record["faults"])
        self.log.rewrite([*self.desk.cluster.snapshot(), self._faults_record()])
        self._has_adopted = bool(self.desk.cluster.all_active())

    def serve(self) -> None:
        """Until it is told to end, or its folder is gone."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.selector.register(wake_read, selectors.EVENT_READ, None)
        listener = listen(self.folder)
        self.selector.register(listener, selectors.EVENT_READ, listener)
        while not self.is_ending and self.folder.is_dir():
            self.tick()
            for key, events in self.selector.select(self._timeout()):
                if key.data is None:
                    os.read(wake_read, 65536)
                elif key.data is listener:
                    self._accept(listener)
                else:
                    self._hear(key.data, events)
        self.mom.kill_all()
        Path(listener.getsockname()).unlink(missing_ok=True)
        listener.close()

    def _note_signal(self, number: int, _frame: object) -> None:
        self.is_ending |= number != signal.SIGCHLD

    def _timeout(self) -> float:
        now = time.time()
        moments = [now + 5.0, *(pending.at for pending in self.waiting + self.hung if pending.at)]
        if not self.desk.is_frozen:
            moments.append(self.desk.cluster.wakes_at(now))
        if self._has_adopted:
            moments.append(now + ADOPTED_POLL_S)
        return max(0.0, min(moments) - now)

    # -- time and processes --

    def tick(self) -> None:
        """All that is due now: ends, starts, signals, answers."""
        reap()
        now = time.time()
        if not self.desk.is_frozen:
            for pending in [pending for pending in self.hung if not pending.is_alone]:
                self.hung.remove(pending)
                self._answer(pending.connection, pending.message)
            self._notice_ends(now)
            while actions := self.desk.cluster.advance(now):
                for action in actions:
                    self._act(action, now)
            self.desk.purge_if_told(now)
        self._keep()
        self._answer_due(now)

    def _notice_ends(self, now: float) -> None:
        adopted = False
        for job, element in self.desk.cluster.all_active():
            if element.gone_s is not None:
                continue
            end = self.mom.read_end(job, element)
            if end is not None:
                self._finish(job, element)
                self.desk.cluster.ended(
                    job.number,
                    element.index,
                    now,
                    code=end.code,
                    signal_number=end.signal,
                    cpu_s=end.cpu_s,
                    memory_bytes=end.memory_bytes,
                )
            elif self._has_adopted and self.mom.is_lost(job, element):
                self._finish(job, element)
                self.desk.cluster.lost(job.number, element.index, now)
            else:
                adopted = True
        self._has_adopted &= adopted

    def _act(self, action: Start | Signal, now: float) -> None:
        job, element = action.job, action.element
        if isinstance(action, Start):
            try:
                extra = {NAME_VARIABLE: self.name}
                pid = self.mom.start(job, element, self._plan(job, element, now), extra)
            except OSError as error:
                element.notes["not_started"] = str(error)
                self.desk.cluster.lost(job.number, element.index, now, "launch")
            else:
                self.desk.cluster.spawned(job, element, pid)
            self._keep()
            return
        words = self.face.last_words(self.desk.cluster, job, element, action.why, now) if action.why else ""
        if words:
            self._tell(self._plan(job, element, now), words)
        self.mom.send(job, element, action.number, action.reach, at_once=action.why == "node")

    def _tell(self, plan: Plan, words: str) -> None:
        """Write into the element's stderr."""
        try:
            with Path(plan.stderr).open("a", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(words)
        except OSError:
            return

    def _plan(self, job: Job, element: Element, now: float) -> Plan:
        return self.face.plan(self.desk.cluster, job, element, self.place, now)

    def _finish(self, job: Job, element: Element) -> None:
        """Deliver the outputs of an element whose process has gone, unless it runs again."""
        plan = self._plan(job, element, time.time())
        if element.why != "requeue" and not (element.why == "node" and job.request.requeues):
            is_complete = deliver(plan, Path(self.place.undelivered))
            self.face.delivered(self.desk.cluster, job, element, is_complete=is_complete)
        self.mom.clean(job, element, plan)

    # -- what is kept --

    def _faults_record(self) -> dict[str, Any]:
        return {"kind": "faults", "faults": self.desk.faults.to_plain()}

    def _keep(self) -> None:
        """Everything that has changed is on disk after this."""
        records = self.desk.cluster.take_changes()
        faults = self._faults_record()
        if json.dumps(faults) != self._known_faults:
            self._known_faults = json.dumps(faults)
            records.append(faults)
        self.log.append(records)
        if self.log.is_large():
            self.log.rewrite([*self.desk.cluster.snapshot(), faults])

    # -- clients --

    def _accept(self, listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
        except BlockingIOError:
            return
        Connection(peer, self.selector)

    def _hear(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            connection.flush()
        if not connection.is_open or not events & selectors.EVENT_READ:
            return
        for message in connection.receive():
            asked = next((one for one in self.waiting if one.connection is connection), None)
            if asked is not None and asked.answer is None:
                self.waiting.remove(asked)
                message = {**asked.message, **message}  # noqa: PLW2901 - the call, with what was piped in
            self._take(connection, message)

    def _take(self, connection: Connection, message: dict[str, Any]) -> None:
        """A call: answered, or kept while the scheduler hangs."""
        if message["program"] == CONTROL:
            self._control(connection, message["argv"])
            return
        self.tick()
        is_asking = message["program"] not in self.face.independent and "--version" not in message["argv"]
        if self.desk.faults.is_on("hung") and is_asking:
            patience = self.desk.give_up(self._call(message)).delay_s
            is_alone = self.desk.faults.active["hung"].calls is not None
            at = time.time() + patience
            self.hung.append(Pending(connection=connection, message=message, at=at, is_alone=is_alone))
            self.desk.faults.take("hung")
            return
        self._answer(connection, message)
        self.tick()

    def _answer(self, connection: Connection, message: dict[str, Any]) -> None:
        now = time.time()
        try:
            answer = self.desk.answer(self._call(message), now)
        except NeedsStdinError:
            self.waiting.append(Pending(connection=connection, message=message))
            connection.send({"need": "stdin"}, is_last=False)
            return
        except Exception:  # noqa: BLE001 - one command's bug must not take the jobs of all others along
            traceback.print_exc()
            said = f"{message['program']}: a bug of the rehearsal: see {self.folder / 'server.log'}\n"
            answer = Answer(stderr=said, code=1)
        self.waiting.append(Pending(connection=connection, message=message, answer=answer, at=now + answer.delay_s))

    def _answer_due(self, now: float) -> None:
        """Answer those whose time has come; what is told of a job that is waited for comes first, its code when it has ended."""
        for pending in [pending for pending in self.hung if 0 < pending.at <= now]:
            answer = self.desk.give_up(self._call(pending.message))
            pending.connection.send({"stdout": answer.stdout, "stderr": answer.stderr, "code": answer.code}, is_last=True)
            # The client has gone, and its request is still on the way.
            pending.at, pending.is_alone = 0.0, False
        for pending in list(self.waiting):
            if not pending.connection.is_open:
                self.waiting.remove(pending)
            elif pending.answer is not None and pending.at <= now:
                self._send(pending, pending.answer)

    def _send(self, pending: Pending, answer: Answer) -> None:
        cluster = self.desk.cluster
        if answer.awaits is not None:
            job = cluster.jobs.get(answer.awaits)
            if answer.stdout or answer.stderr:
                pending.connection.send({"stdout": answer.stdout, "stderr": answer.stderr}, is_last=False)
            pending.answer = answer = dataclasses.replace(answer, stdout="", stderr="")
            if job is not None and job.ended_s is None:
                pending.at = 0.0  # looked at again whenever something has happened
                return
            answer = Answer(code=self.face.waited(cluster, answer.awaits or 0))
        self.waiting.remove(pending)
        pending.connection.send({"stdout": answer.stdout, "stderr": answer.stderr, "code": answer.code}, is_last=True)

    def _call(self, message: dict[str, Any]) -> Call:
        number, _, index = message["env"].get(ELEMENT_VARIABLE, "").partition(".")
        return Call(
            program=message["program"],
            argv=tuple(message["argv"]),
            cwd=message["cwd"],
            env=message["env"],
            settings=self.settings,
            umask=message["umask"],
            user=user_name(message["uid"]),
            uid=message["uid"],
            host=socket.gethostname(),
            home=message["env"].get("HOME", "/"),
            stdin=message.get("stdin"),
            inside=(int(number), int(index)) if number.isdigit() and index.isdigit() else None,
            faults=self.desk.faults,
            now=time.time(),
        )

    def _control(self, connection: Connection, argv: list[str]) -> None:
        """``fault TEXT``, ``fault none``, ``end``, ``ping``."""
        answer: dict[str, Any] = {"code": 0}
        now = time.time()
        if argv[:1] == ["end"]:
            (self.folder / "ended").touch()
            self.mom.kill_all()
            self.is_ending = True
        elif argv == ["fault", "none"]:
            self.desk.clear_faults()
        elif argv[:1] == ["fault"]:
            try:
                self.desk.set_fault(parse_fault(argv[1]), now)
            except ValueError as error:
                answer = {"stderr": f"{error}\n", "code": 2}
        self.tick()
        connection.send(answer, is_last=True)


def user_name(uid: int) -> str:
    """The name of a user; the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def reap() -> None:
    """Shepherds that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def listen(folder: Path) -> socket.socket:
    """The socket; its address is written into the folder. Addresses are short: that of a deep folder is elsewhere."""
    path = folder / "socket"
    if len(os.fsencode(path)) > LONGEST_ADDRESS:
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"hpcsweep-rehearsal-{os.getuid()}-{digest}"
        path = path if len(os.fsencode(path)) <= LONGEST_ADDRESS else Path("/tmp") / path.name  # noqa: S108 - the name says whose
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o077)
    try:
        listener.bind(str(path))
    finally:
        os.umask(umask)
    listener.listen(128)
    listener.setblocking(False)  # noqa: FBT003 - the socket's own
    beside = folder / "address.tmp"
    beside.write_text(str(path), encoding="utf-8", errors="surrogateescape")
    beside.replace(folder / "address")
    return listener


def main(name: str) -> int:
    """Leave a server for the folder behind, if it has none."""
    folder = Path(name)
    os.closerange(3, 1024)  # whatever the client had from its shell
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    if os.fork():
        return 0
    os.chdir("/")
    (folder / "server.pid").write_text(str(os.getpid()))
    server = Server(folder)
    server.restore()
    server.serve()
    return 0
