"""OpenPBS's qstat, on what a real server printed."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import DATA

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import NoAnswer
from hpcsweep.schedulers.pbs import Pbs
from hpcsweep.schedulers.pbs_answers import read_history, read_qstat, read_server
from hpcsweep.states import State


def printed(text: str, returncode: int = 0, stderr: str = "") -> Completed:
    return Completed(argv=("qstat",), returncode=returncode, stdout=text, stderr=stderr)


def plain(name: str) -> str:
    """A recorded ``-F json`` list in the plain form, wrapped as qstat wraps it."""
    jobs = json.JSONDecoder(strict=False).raw_decode((DATA / "openpbs" / f"{name}.json").read_text())[0]["Jobs"]
    lines = []
    for identifier, fields in jobs.items():
        lines.append(f"Job Id: {identifier}")
        for key, value in fields.items():
            values = value if isinstance(value, dict) and key != "Variable_List" else {"": value}
            for inner, text in values.items():
                line = f"    {key}{'.' if inner else ''}{inner} = {text}"
                lines.append(line[:78] + (f"\n\t{line[78:]}" if line[78:] else ""))
        lines.append("")
    return "\n".join(lines)


class TestLive:
    @pytest.fixture
    def seen(self):
        return read_qstat(printed((DATA / "openpbs" / "01-mixed-qstat-ft.txt").read_text()))

    def test_states_of_subjobs(self, seen):
        table = {(s.tag, element): s.state for s in seen for element in s.elements}
        assert Counter(table.values()) == {State.PENDING: 4 + 2 + 6, State.RUNNING: 4}
        assert [element for (tag, element), state in table.items() if (tag, state) == ("long", State.RUNNING)] == [1, 2, 3, 4]
        assert ("long", 0) not in table, "X: it has ended, though its array lives"
        assert ("long", 11) not in table

    def test_a_held_array_is_held_though_its_subjobs_say_q(self, seen):
        (held,) = [s for s in seen if s.tag == "held"]
        assert (held.job, held.elements, held.raw, held.is_held) == ("223[].pbs", range(4), "Q", True)

    def test_what_can_never_run_says_why(self, seen):
        (big,) = [s for s in seen if s.tag == "toobig"]
        assert big.is_blocked
        assert big.reason == "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 8 T: 8)"

    def test_what_waits_for_its_siblings_has_no_comment_of_its_own(self, seen):
        (waiting,) = [s for s in seen if s.tag == "long" and s.state is State.PENDING]
        assert (waiting.elements, waiting.reason) == (range(5, 11), "max_run_subjobs=4")

    def test_a_queued_subjob_does_not_inherit_an_end(self, seen):
        assert all(s.exit_code is None for s in seen)

    def test_waiting_for_other_jobs_is_no_hold_of_the_users(self):
        text = (
            "Job Id: 84[].pbs\n    Job_Name = second\n    job_state = H\n    Hold_Types = s\n    depend = afterany:82[].pbs@pbs\n\n"
            "Job Id: 84[0].pbs\n    Job_Name = second\n    job_state = Q\n    Hold_Types = s\n    depend = afterany:82[].pbs@pbs\n"
        )
        (seen,) = read_qstat(printed(text))
        assert (seen.is_held, seen.reason) == (False, "Dependency (afterany:82[].pbs@pbs)")

    def test_ten_thousand_waiting_elements_are_one_record(self):
        one = "    Job_Name = many\n    job_state = Q\n    Hold_Types = n\n\n"
        text = f"Job Id: 5[].pbs\n{one}" + "".join(f"Job Id: 5[{element}].pbs\n{one}" for element in range(10_000))
        (seen,) = read_qstat(printed(text))
        assert seen.elements == range(10_000)

    def test_a_value_with_line_breaks_is_no_field(self):
        text = (
            "Job Id: 5.pbs\n    Job_Name = mine\n    job_state = R\n    Variable_List = A=x\n    job_state = F,PBS_O_HOST=pbs\n"
        )
        (seen,) = read_qstat(printed(text))
        assert seen.state is State.RUNNING

    def test_a_list_that_cannot_be_read_is_no_empty_list(self):
        assert isinstance(read_qstat(printed("Job Id: 5.pbs\n    Job_Name = mine\n")), NoAnswer)
        assert isinstance(read_qstat(printed("<html>504</html>")), NoAnswer)

    def test_a_letter_that_nobody_knows_is_unknown(self):
        (seen,) = read_qstat(printed("Job Id: 5.pbs\n    Job_Name = mine\n    job_state = Z\n"))
        assert (seen.state, seen.raw) == (State.UNKNOWN, "Z")


class TestHistory:
    def ends(self, name: str) -> dict[tuple[str, int | None], tuple[State, int | None, int | None]]:
        seen = read_history(printed(plain(name)))
        return {(s.tag, element): (s.state, s.exit_code, s.signal) for s in seen for element in s.elements or (None,)}

    def test_each_end_is_told_apart(self):
        ends = self.ends("01-mixed-qstat-xtf-Fjson")
        assert ends["mix", 0] == (State.DONE, 0, None)
        assert ends["mix", 2] == (State.FAILED, 2, None)
        assert ends["single", None] == (State.FAILED, 3, None)
        assert ends["one", 5] == (State.DONE, 0, None)
        assert ends["long", 0] == (State.CANCELLED, None, 15)
        assert ends["depfail", None] == (State.CANCELLED, None, None)
        assert self.ends("02-after-qdel-qstat-xtf-Fjson")["wall", 0] == (State.TIMEOUT, None, None)

    def test_what_was_deleted_before_it_began_has_not_the_end_of_its_array(self):
        ends = self.ends("02-after-qdel-qstat-xtf-Fjson")
        assert {ends["long", element] for element in range(5, 12)} == {(State.CANCELLED, None, None)}
        assert {ends["held", element] for element in range(4)} == {(State.CANCELLED, None, None)}

    def test_the_array_itself_is_no_element(self):
        seen = read_history(printed(plain("02-after-qdel-qstat-xtf-Fjson")))
        assert sorted(element for s in seen if s.tag == "mix" for element in s.elements) == list(range(6))

    def test_a_dependency_that_cannot_be_met_says_so(self):
        seen = read_history(printed(plain("02-after-qdel-qstat-xtf-Fjson")))
        (dependent,) = [s for s in seen if s.tag == "depfail"]
        assert "afternotok:227.pbs@pbs" in dependent.reason

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (0, (State.DONE, 0, None)),
            (255, (State.FAILED, 255, None)),
            (137, (State.FAILED, None, 9)),
            (139, (State.FAILED, None, 11)),
            (-29, (State.TIMEOUT, None, None)),
            (-27, (State.OOM, None, None)),
            (-2, (State.FAILED, None, None)),
            (271, (State.CANCELLED, None, 15)),
            (265, (State.FAILED, None, 9)),
        ],
    )
    def test_exit_status(self, code, expected):
        text = f"Job Id: 5.pbs\n    Job_Name = x\n    job_state = F\n    substate = 93\n    run_count = 1\n    Exit_status = {code}\n"
        (seen,) = read_history(printed(text))
        assert (seen.state, seen.exit_code, seen.signal) == expected

    def test_history_off_is_no_answer(self):
        said = "qstat: job_history_enable is set to false; no historical job information\n"
        assert isinstance(read_history(printed("", 0, said)), NoAnswer)


class TestServer:
    def test_limits(self):
        limits = read_server(
            printed("Server: pbs\n    server_state = Active\n    max_array_size = 500\n    query_other_jobs = False\n")
        )
        assert (limits.max_array_size, limits.hides_jobs) == (500, True)
        assert read_server(printed("Server: pbs\n    server_state = Active\n")).max_array_size == 10_000

    def test_version(self):
        assert Pbs().parse_version(printed("pbs_version = 23.06.06\n")) == "pbs 23.06.06"
        assert Pbs().parse_version(printed("Version: 6.1-dev\n")) is None


class TestCommands:
    def test_known_jobs_are_asked_for_by_their_ids_and_others_by_their_names(self):
        command = Pbs().live_cmd({"a": ("1[].pbs", "4[].pbs"), "b": ()})
        assert command.argv[4:] == ("", "1[].pbs", "4[].pbs", "--", "b")
        assert Pbs().history_cmd({"a": ("1[].pbs",)}, 0.0).argv[4:] == ("-x", "1[].pbs", "--")

    def test_elements_are_deleted_by_ranges(self):
        (command,) = Pbs().cancel_cmds("tag", "39[].pbs", [0, 1, 2, 7])
        assert command.argv[4:] == ("tag", "39[].pbs", "39[0-2]", "39[7]")
        (command,) = Pbs().cancel_cmds("tag", "39[].pbs", None)
        assert command.argv[4:] == ("tag", "39[].pbs", "39[].pbs")
        assert Pbs().cancel_cmds("tag", "39[].pbs", []) == []


@settings(deadline=None)
@given(st.text(st.sampled_from("Job Id:=0129[].\n\t QRXFHabc_-")))
def test_no_text_breaks_the_readers(text):
    for read in (read_qstat, read_history, read_server):
        read(printed(text))
