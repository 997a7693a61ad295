"""Torque's qstat, on what a real server printed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import DATA

from hpcsweep.model import Completed
from hpcsweep.schedulers.base import NoAnswer
from hpcsweep.schedulers.torque import Torque
from hpcsweep.schedulers.torque_answers import ARRAYS_FOLLOW, ASKED, read_history, read_qstat, read_server
from hpcsweep.states import State


def printed(text: str, returncode: int = 0, stderr: str = "") -> Completed:
    return Completed(argv=("qstat",), returncode=returncode, stdout=text, stderr=stderr)


def both_lists(*asked: tuple[str, str]) -> Completed:
    subjobs = (DATA / "torque" / "01-mixed-qstat-t-f-x.xml").read_text()
    arrays = (DATA / "torque" / "01-mixed-qstat.txt").read_text()
    lines = "".join(f"{ASKED} {job} {tag}\n" for job, tag in asked)
    return printed(f"{subjobs}\n{ARRAYS_FOLLOW}\n{lines}{arrays}")


class TestLive:
    @pytest.fixture
    def seen(self):
        return read_qstat(both_lists())

    def test_states_of_subjobs(self, seen):
        table = {(s.tag, element): (s.state, s.is_held) for s in seen for element in s.elements}
        assert Counter(table.values()) == {
            (State.RUNNING, False): 6,
            (State.PENDING, True): 4,
            (State.PENDING, False): 6,
        }
        assert ("long", 0) not in table
        assert ("mix", 0) not in table

    def test_the_index_is_no_part_of_the_name(self, seen):
        assert {s.tag for s in seen} == {"wall", "held", "long"}

    def test_h_for_the_slot_limit_is_no_hold(self, seen):
        (waiting,) = [s for s in seen if s.tag == "long" and s.state is State.PENDING]
        assert (waiting.elements, waiting.is_held, waiting.reason) == (range(5, 11), False, "slot limit of the array")

    def test_subjobs_that_are_not_made_yet_are_waited_for(self):
        seen = read_qstat(both_lists(("280[].torque", "long"), ("273[].torque", "mix")))
        to_come = [s for s in seen if len(s.elements) > 1000]
        assert [(s.tag, s.job, s.elements.start, s.state) for s in to_come] == [("long", "280[].torque", 12, State.PENDING)]

    def test_an_array_of_which_nothing_is_made_yet(self):
        line = "9[].torque                 ...-0f3c1d2e4b-001 user                0 Q batch          "
        seen = read_qstat(printed(f"<Data></Data>\n{ARRAYS_FOLLOW}\n{ASKED} 9[].torque lr-0f3c1d2e4b-001\n{line}\n"))
        assert [(s.tag, s.job, s.elements.start) for s in seen] == [("lr-0f3c1d2e4b-001", "9[].torque", 0)]

    def test_an_id_that_is_another_jobs_by_now_is_not_believed(self):
        line = "9[].torque                 somebody-else    user                0 Q batch          "
        assert read_qstat(printed(f"<Data></Data>\n{ARRAYS_FOLLOW}\n{ASKED} 9[].torque lr-0f3c1d2e4b-001\n{line}\n")) == []

    def test_a_list_that_cannot_be_read_is_no_empty_list(self):
        assert isinstance(read_qstat(printed("<Data><Job><Job_Id>1.t</Job_Id></Job></Data>")), NoAnswer)
        assert isinstance(read_qstat(printed("<html>504</html>")), NoAnswer)

    def test_ampersands_in_values(self):
        job = "<Job><Job_Id>1.t</Job_Id><Job_Name>a</Job_Name><job_state>Q</job_state><comment>1 &lt; 2 & 3</comment></Job>"
        (seen,) = read_qstat(printed(f"<Data>{job}</Data>"))
        assert seen.reason == "1 < 2 & 3"


class TestHistory:
    def test_each_end_is_told_apart(self):
        ends = {
            (s.tag, element): (s.state, s.exit_code, s.signal)
            for s in read_history(both_lists())
            for element in s.elements or (None,)
        }
        assert ends["mix", 0] == (State.DONE, 0, None)
        assert ends["mix", 5] == (State.FAILED, 2, None)
        assert ends["single", None] == (State.FAILED, 3, None)
        assert ends["long", 0] == (State.CANCELLED, None, 15)
        assert ends["long", 11] == (State.CANCELLED, None, None)
        assert ends["depfail", None] == (State.CANCELLED, None, None)

    def test_the_walltime(self):
        text = (DATA / "torque" / "02-after-qdel-qstat-t-f-x.xml").read_text()
        ends = {(s.tag, element): s.state for s in read_history(printed(text)) for element in s.elements or ()}
        assert ends["wall", 0] is State.TIMEOUT

    def test_a_dependency_that_cannot_be_met_says_so(self):
        (dependent,) = [s for s in read_history(both_lists()) if s.tag == "depfail"]
        assert dependent.reason == "Job deleted as result of dependency on job 278.torque"


class TestServer:
    def test_limits(self):
        limits = read_server(printed("Server: torque\n    max_job_array_size = 50\n    kill_delay = 20\n"))
        assert (limits.max_array_size, limits.kill_wait_s) == (50, 20)
        assert read_server(printed("Server: torque\n    server_state = Active\n")).kill_wait_s == 2

    def test_version(self):
        assert Torque().parse_version(printed("Version: 6.1-dev\nCommit: 662e\n")) == "torque 6.1-dev"
        assert Torque().parse_version(printed("pbs_version = 23.06.06\n")) is None


class TestCommands:
    def test_known_jobs_are_asked_for_by_their_ids_and_others_by_their_names(self):
        command = Torque().live_cmd({"a": ("1[].t",), "b": ()})
        assert command.argv[4:] == ("1[].t", "a", "--", "b")

    def test_elements_are_deleted_by_ranges(self):
        (command,) = Torque().cancel_cmds("tag", "39[].t", [0, 1, 2, 7])
        assert command.argv[4:] == ("tag", "39[].t", "0-2,7")
        (command,) = Torque().cancel_cmds("tag", "39[].t", None)
        assert command.argv[4:] == ("tag", "39[].t")
        assert Torque().cancel_cmds("tag", "39[].t", []) == []


@settings(deadline=None)
@given(st.text(st.sampled_from("<Job>/_Id019[].\nQRC stame&;l-")))
def test_no_text_breaks_the_readers(text):
    for read in (read_qstat, read_history, read_server):
        read(printed(text))
