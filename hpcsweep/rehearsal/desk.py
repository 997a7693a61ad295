"""Where the commands of a rehearsal are answered: the faults first, then the face. No I/O; the server and the tests both use it."""

from __future__ import annotations

import dataclasses
import re

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Answer, Call, Face, Settings
from hpcsweep.rehearsal.faults import ONCE, Fault, Faults
from hpcsweep.rehearsal.jobs import Element, Job


class Desk:
    """One rehearsal: a face, its cluster, its settings, and the faults that are on."""

    def __init__(self, face: Face, settings: Settings) -> None:
        self.face = face
        self.settings = settings
        self.cluster = Cluster(face.rules(settings))
        self.faults = Faults()

    @property
    def is_frozen(self) -> bool:
        """Whether the scheduler is down or hangs: nothing starts, and no end is noticed."""
        return self.faults.is_on("down") or self.faults.is_on("hung")

    def answer(self, call: Call, now: float) -> Answer:
        """What a command prints. ``cluster.advance`` was called just before, but where the scheduler is frozen.

        Raises:
            NeedsStdinError: before anything was changed.
        """
        if "--version" in call.argv:  # asks nobody
            return self.face.run(self.cluster, call, now)
        for fault in ("down", "trqauthd-down"):
            if self.faults.is_on(fault) and call.program not in self.face.independent:
                self.faults.take(fault)
                return self._late(self.face.unreachable(call, fault))
        if call.program not in self.face.submits:
            return self._late(self.face.run(self.cluster, call, now))
        if self.faults.is_on("refuse"):
            reason = self.faults.argument("refuse")
            self.faults.take("refuse")
            return self._late(self.face.refuse(self.cluster, call, reason, now))
        answer = self.face.run(self.cluster, call, now)
        if answer.code == 0 and self.faults.take("submit-timeout"):
            return self.give_up(call)
        return self._late(answer)

    def give_up(self, call: Call) -> Answer:
        """What a client prints that had no answer, and after how long."""
        answer = self.face.gives_up(call)
        patience = self.settings.number("patience_s")
        return answer if patience < 0 else dataclasses.replace(answer, delay_s=patience)

    def _late(self, answer: Answer) -> Answer:
        latency = self.settings.number("latency_s")
        return dataclasses.replace(answer, delay_s=answer.delay_s + latency) if latency else answer

    # -- faults --

    def set_fault(self, fault: Fault, now: float) -> None:
        """Let a fault be on, or happen."""
        if fault.name in ("walltime", "oom"):
            for job, element in self._meant(fault.argument):
                self._strike(job, element, fault.name, now)
        elif fault.name == "forget":
            self._forget(int(fault.argument or "1"))
        elif fault.name == "node-lost":
            name = fault.argument or self.cluster.rules.nodes[0].name
            self.cluster.lose_node(name, now)
        if fault.name not in ONCE:
            self.faults.active[fault.name] = fault

    def clear_faults(self) -> None:
        """No fault is on any more; lost nodes are back."""
        for name in list(self.cluster.room.down):
            self.cluster.restore_node(name)
        self.faults.active.clear()

    def purge_if_told(self, now: float) -> None:
        """The fault ``purged``: what has ended is forgotten."""
        if self.faults.is_on("purged"):
            self.cluster.purge_ended(now)

    def _meant(self, text: str) -> list[tuple[Job, Element]]:
        """``12``, ``12[3]``, ``12_3``: the elements that run, of those meant; all that run where nothing is said."""
        number, _, index = re.sub(r"\D+", " ", text.partition(".")[0]).strip().partition(" ")
        return [
            (job, element)
            for job, element in self.cluster.all_active()
            if number in ("", str(job.number)) and index in ("", str(element.index))
        ]

    def _strike(self, job: Job, element: Element, why: str, now: float) -> None:
        if why == "oom":
            self.cluster.doom(job, element, "oom", now, number=9)
        else:
            self.cluster.doom(job, element, "walltime", now)

    def _forget(self, how_many: int) -> None:
        last = list(self.cluster.jobs.values())[-how_many:] if how_many > 0 else []
        for job in reversed(last):
            self.cluster.forget(job)
        if last:
            self.cluster.next_number = last[0].number
            self.cluster.touch_numbers()
