"""What PBS and Torque have in common: submissions, refusals, options, the words of a query that failed."""

from __future__ import annotations

import re

import pytest
from recordings import read_transcript

from hpcsweep.model import Completed, Request
from hpcsweep.schedulers import make_scheduler
from hpcsweep.schedulers.base import ArrayJob, NoAnswer, Refused, Submitted, Uncertain
from hpcsweep.schedulers.qsub_answers import failure_of, group_elements, nodes_of, seconds_of

TRANSCRIPTS = {
    "pbs": ("openpbs-array-syntax-and-errors", "openpbs-names", "openpbs-dependencies", "openpbs-server-down"),
    "torque": ("torque-array-syntax-and-errors", "torque-dependencies-submit", "torque-server-down"),
}
QSUBS = [
    pytest.param(name, answer, id=f"{name}: {answer.argv[0][:60]}")
    for name, transcripts in TRANSCRIPTS.items()
    for transcript in transcripts
    for answer in read_transcript(transcript)
    if re.match(r"(\w+=\S* )?qsub ", answer.argv[0]) and " -z" not in answer.argv[0]
]
BOTH = pytest.mark.parametrize("name", ["pbs", "torque"])


def job(**changes) -> ArrayJob:
    values = {"tag": "lr-0f3c-001", "script": "/run/s.sh", "log": "/run/log", "size": 10, "chdir": "/home/me"}
    return ArrayJob(**{**values, **changes})


@pytest.mark.parametrize(("name", "recorded"), QSUBS)
def test_every_recorded_qsub_is_understood(name, recorded):
    answer = make_scheduler(name).parse_submit(recorded)
    if recorded.stdout:
        assert answer == Submitted(job=recorded.stdout.strip().splitlines()[-1])
        return
    assert isinstance(answer, Refused)
    assert answer.message
    assert "usage" not in answer.message
    is_down = re.search(r"cannot connect|[Uu]nknown [Hh]ost", recorded.stderr) is not None
    assert (answer.is_unreachable, answer.curable and is_down) == (is_down, is_down)


@pytest.mark.parametrize(
    ("name", "typed", "hint", "limit"),
    [
        ("pbs", "qsub -q nosuch s.sh", "resources.partition", ""),
        ("pbs", "qsub -q short -l walltime=01:00:00 s.sh", "resources.time", ""),
        ("pbs", "qsub -l nosuchres=1 s.sh", "no such resource", ""),
        ("pbs", "qsub -J 0-10000 s.sh", "max_array_size", "array size"),
        ("pbs", "qsub -r n -J 0-9 s.sh", "array.mode: jobs", ""),
        ("pbs", "qsub -l select=1:ncpus=2 -l mem=1gb s.sh", "in two ways", ""),
        ("torque", "qsub -q nosuch s.sh", "resources.partition", ""),
        ("torque", "qsub -l nodes=1:ppn=64 s.sh", "resources.cpus", ""),
        ("torque", "qsub -h -t 0-10001 s.sh", "max_job_array_size", "array size"),
        ("torque", "qsub -P proj s.sh", "login node", ""),
    ],
)
def test_a_refusal_says_what_to_change(name, typed, hint, limit):
    (recorded,) = [answer for answer in read_transcript(TRANSCRIPTS[name][0]) if answer.argv[0] == typed]
    answer = make_scheduler(name).parse_submit(recorded)
    assert hint in answer.hint
    assert answer.limit == limit


@BOTH
@pytest.mark.parametrize(
    ("returncode", "stderr"),
    [
        (None, ""),
        (174, "Connection to server timed out. Trying againqsub: submit error (Time out)"),
        (-9, ""),
        (0, ""),
        (1, "qsub: End of File"),
        (137, "Killed"),
        (5, "something else altogether"),
    ],
)
def test_an_answer_that_is_lost_is_no_refusal(name, returncode, stderr):
    completed = Completed(argv=("qsub",), returncode=returncode, stdout="", stderr=stderr)
    assert isinstance(make_scheduler(name).parse_submit(completed), Uncertain)


@BOTH
def test_an_id_counts_whatever_stderr_and_the_exit_code_say(name):
    said = "qsub: warning: your quota is nearly used up"
    completed = Completed(argv=("qsub",), returncode=1, stdout=f"Welcome!\n39[].{name}\n", stderr=said)
    assert make_scheduler(name).parse_submit(completed) == Submitted(job=f"39[].{name}", warning=said)


@BOTH
def test_a_qsub_of_slurms_says_so(name):
    completed = Completed(argv=("qsub",), returncode=1, stdout="", stderr="sbatch: error: invalid partition specified: nosuch")
    assert "--scheduler slurm" in make_scheduler(name).parse_submit(completed).hint


class TestSubmitCommand:
    @BOTH
    def test_values_and_logs_are_not_qsubs_business(self, name):
        command = make_scheduler(name).submit_cmd(job())
        assert not {"-v", "-V"} & set(command.argv)
        assert command.argv[-1] == "/run/s.sh"
        words = list(command.argv)
        assert (words[words.index("-o") + 1], words[words.index("-e") + 1]) == ("/dev/null", "/dev/null")
        assert command.cwd == "/home/me"
        assert command.keeps_lock
        assert command.timeout_s < 600, "a server that hangs is cut off"

    def test_no_process_of_pbs_goes_on_holding_the_lock(self):
        assert make_scheduler("pbs").submit_cmd(job()).argv[1] == "-f"

    @BOTH
    def test_what_is_of_the_job_that_we_run_in_is_dropped(self, name):
        command = make_scheduler(name).submit_cmd(job())
        assert {"PBS_*", "HPCSWEEP_*", "CUDA_VISIBLE_DEVICES"} <= set(command.env_drop)
        assert {"PBS_SERVER", "PBS_DEFAULT", "PBS_CONF_FILE"} <= set(command.env_keep)
        assert make_scheduler(name).submit_cmd(job(is_env_clean=True)).env_drop == ("*",)

    @pytest.mark.parametrize(
        ("name", "changes", "words"),
        [
            ("pbs", {}, ["-J", "0-9"]),
            ("pbs", {"at_once": 4}, ["-J", "0-9%4"]),
            ("pbs", {"size": 1}, ["-J", "0-1:2"]),
            ("pbs", {"size": 1, "at_once": 4}, ["-J", "0-1:2%4"]),
            ("pbs", {"elements": (3,)}, ["-J", "3-4:2"]),
            ("pbs", {"elements": (3, 5, 7)}, ["-J", "3-7:2"]),
            ("pbs", {"elements": (3, 4, 5)}, ["-J", "3-5"]),
            ("pbs", {"elements": (3, 4, 7)}, ["-J", "0-9"]),
            ("torque", {}, ["-t", "0-9"]),
            ("torque", {"at_once": 4}, ["-t", "0-9%4"]),
            ("torque", {"size": 1}, ["-t", "0-0"]),
            ("torque", {"elements": (3, 4, 7)}, ["-t", "3-4,7"]),
            ("pbs", {"is_held": True}, ["-h"]),
            ("torque", {"is_held": True}, ["-h"]),
        ],
    )
    def test_words(self, name, changes, words):
        argv = make_scheduler(name).submit_cmd(job(**changes)).argv
        start = argv.index(words[0])
        assert list(argv[start : start + len(words)]) == words

    @BOTH
    def test_a_single_job_is_no_array(self, name):
        assert not {"-J", "-t"} & set(make_scheduler(name).submit_cmd(job(as_single_job=True, size=1)).argv)

    @pytest.fixture
    def run_command_line(self, tmp_path, monkeypatch):
        """What qsub is told at last; the server knows the array 1[], 2, 3[] and 4[]."""
        import subprocess  # noqa: PLC0415

        known = "1[]|1[].s|2|2.s|3[].s|4[].s|4[]"
        (tmp_path / "qsub").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (tmp_path / "qstat").write_text(
            f"#!/bin/sh\ncase $1 in\n{known.replace('[', chr(92) + '[')}) ;;\n"
            "5*) echo 'qstat: 5[].s Job has finished, use -x or -H to obtain historical job information' >&2; exit 35 ;;\n"
            "9*) echo 'Connection refused' >&2; exit 255 ;;\n"
            '*) echo "qstat: Unknown Job Id $1" >&2; exit 153 ;;\nesac\n'
        )
        for name in ("qsub", "qstat"):
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

        def run(name: str, **changes) -> tuple[list[str], str]:
            command = make_scheduler(name).submit_cmd(job(**changes))
            done = subprocess.run(command.argv, check=True, capture_output=True, text=True)
            return done.stdout.splitlines(), done.stderr

        return run

    @BOTH
    def test_a_delay_is_a_time_of_day(self, name, run_command_line):
        words, _ = run_command_line(name, delay_s=300, script="/a b/s.sh")
        assert words[0] == "-a"
        assert re.fullmatch(r"20\d{10}\.\d\d", words[1])
        assert words[-1] == "/a b/s.sh"

    @pytest.mark.parametrize(
        ("name", "changes", "depend"),
        [
            ("pbs", {"after": ("1[].s", "2.s")}, "afterany:1[].s,afterany:2.s"),
            ("torque", {"after": ("1[].s", "2.s", "3[].s")}, "afteranyarray:1[].s:3[].s,afterany:2.s"),
            ("pbs", {"after_first_of": ("1[5].s", "1[7].s")}, "afterany:1[].s"),
            ("torque", {"after_first_of": ("1[5].s", "1[7].s")}, "afteranyarray:1[].s"),
            ("pbs", {"after": ("4.s",)}, "afterany:4[].s"),
            ("pbs", {"after": ("4",)}, "afterany:4[]"),
            ("pbs", {"after": ("1[3].s",)}, "afterany:1[].s"),
            ("pbs", {"after": ("9[].s",)}, "afterany:9[].s"),
        ],
    )
    def test_what_is_waited_for(self, name, changes, depend, run_command_line):
        words, said = run_command_line(name, **changes)
        assert words[:2] == ["-W", f"depend={depend}"]
        assert said == ""

    @BOTH
    def test_what_has_ended_is_not_waited_for(self, name, run_command_line):
        words, said = run_command_line(name, after=("5[].s", "7.s"))
        assert not any("depend" in word for word in words)
        assert said.splitlines() == [
            f"hpcsweep: job {other} is not waited for: the server does not have it (any more)" for other in ("5[].s", "7.s")
        ]


class TestDirectives:
    FULL = Request(
        time_limit_s=5400, memory_bytes=8 << 30, cpus=4, gpus=2, nodes=2, tasks_per_node=3, partition="short", account="lab"
    )

    def test_pbs_selects_chunks(self):
        assert make_scheduler("pbs").directives(
            self.FULL, {"P": "proj", "chunk": {"gpu_model": "a100"}, "l": {"place": "scatter"}}
        ) == [
            "#PBS -l select=2:ncpus=12:mpiprocs=3:ompthreads=4:mem=8192mb:ngpus=2:gpu_model=a100",
            "#PBS -l walltime=01:30:00",
            "#PBS -q short",
            "#PBS -A lab",
            "#PBS -P proj",
            "#PBS -l place=scatter",
        ]

    @pytest.mark.parametrize(("name", "word"), [("pbs", "ngpus=1"), ("torque", "gpus=1")])
    def test_a_part_of_a_gpu_is_a_whole_one(self, name, word):
        (line,) = make_scheduler(name).directives(Request(gpus=0.25), {})
        assert word in line

    def test_torque_asks_for_nodes(self):
        assert make_scheduler("torque").directives(self.FULL, {"chunk": "a100", "W": "group_list=lab", "l": ["qos=high"]}) == [
            "#PBS -l nodes=2:ppn=12:gpus=2:a100",
            "#PBS -l mem=16384mb",
            "#PBS -l walltime=01:30:00",
            "#PBS -q short",
            "#PBS -A lab",
            "#PBS -W group_list=lab",
            "#PBS -l qos=high",
        ]

    def test_values_are_not_changed(self):
        options = {"M": ["a=b@x", "c@y"], "rerunnable": False, "p": -10, "W": {"group_list": "a,b"}}
        lines = ["#PBS -M a=b@x,c@y", "#PBS -r n", "#PBS -p -10", "#PBS -W group_list=a,b"]
        assert make_scheduler("pbs").directives(Request(), options) == lines

    @BOTH
    def test_nothing_is_asked_for_by_itself(self, name):
        assert make_scheduler(name).directives(Request(memory_bytes=0), {}) == []

    @pytest.mark.parametrize(
        ("name", "request_", "options", "part"),
        [
            ("pbs", {"qos": "high"}, {}, "no common word for `qos`"),
            ("pbs", {"gpus": 1, "gpu_type": "a100"}, {}, "no common word for `gpu_type`"),
            ("torque", {"tmp_bytes": 1}, {}, "no common word for `tmp`"),
            ("pbs", {}, {"J": "0-9"}, "hpcsweep's own"),
            ("torque", {}, {"t": "0-9"}, "hpcsweep's own"),
            ("pbs", {}, {"v": "A=1"}, "hpcsweep's own"),
            ("pbs", {}, {"W": "depend=afterok:3"}, "`depend` is hpcsweep's own"),
            ("pbs", {}, {"projct": "lab"}, "no option 'projct'"),
            ("torque", {}, {"P": "proj"}, "no option 'P'"),
            ("pbs", {"cpus": 4}, {"l": "select=1:ncpus=4"}, "say the same thing"),
            ("pbs", {"time_limit_s": 60}, {"l": {"walltime": "1:00:00"}}, "say the same thing"),
            ("torque", {"memory_bytes": 1 << 30}, {"l": "mem=1gb"}, "say the same thing"),
            ("pbs", {"partition": "short"}, {"queue": "long"}, "say the same thing"),
            ("pbs", {}, {"P": "a", "project": "b"}, "say the same thing"),
            ("pbs", {}, {"P": "a\nb"}, "line break"),
            ("pbs", {"cpus": 4}, {"l": {"mem": "4gb"}}, "say the same thing"),
            ("pbs", {}, {"A": "my account"}, "has a blank"),
            ("pbs", {}, {"queue": "#x"}, "begins with `#`"),
            ("torque", {}, {"M": {"x": "y"}}, "one text, not pairs"),
            ("pbs", {"cpus": 0}, {}, "at least 1"),
            ("torque", {"partition": "a b"}, {}, "without spaces"),
        ],
    )
    def test_what_cannot_be_expressed_is_said(self, name, request_, options, part):
        (problem,) = make_scheduler(name).problems(Request(**request_), options)
        assert part in problem.message

    def test_a_misspelt_option_has_a_near_one(self):
        (problem,) = make_scheduler("pbs").problems(Request(), {"projct": "lab"})
        assert problem.hint == "did you mean project?"


class TestFailedQueries:
    def test_unknown_jobs_are_an_answer_in_any_mix(self):
        for said in ("qstat: Unknown Job Id 99999.pbs\n", "qstat: Unknown Job Id Error 99999.torque\n"):
            assert failure_of("qstat", Completed(argv=("qstat",), returncode=153, stdout="", stderr=said)) is None
        finished = "qstat: 219[].pbs Job has finished, use -x or -H to obtain historical job information\n"
        assert failure_of("qstat", Completed(argv=("qstat",), returncode=35, stdout="", stderr=finished)) is None

    @pytest.mark.parametrize("transcript", ["openpbs-server-down", "torque-server-down"])
    def test_a_server_that_is_down_says_nothing_of_jobs(self, transcript):
        for answer in read_transcript(transcript):
            if answer.argv[0].startswith("qstat"):
                assert isinstance(failure_of("qstat", answer), NoAnswer)

    def test_a_history_that_is_switched_off_is_no_empty_history(self):
        said = "qstat: Job history is not enabled on this server\n"
        answer = failure_of("qstat", Completed(argv=("qstat",), returncode=0, stdout="", stderr=said))
        assert answer == NoAnswer(message="qstat: Job history is not enabled on this server")

    def test_no_jobs_at_all_is_an_answer(self):
        assert failure_of("qstat", Completed(argv=("qstat",), returncode=0, stdout="", stderr="")) is None

    def test_an_exit_code_without_a_word_is_none(self):
        assert isinstance(failure_of("qstat", Completed(argv=("qstat",), returncode=153, stdout="", stderr="")), NoAnswer)


def test_small_texts():
    assert [seconds_of(text) for text in ("00:00:18", "100:00:01", "8.09", "90", "", "abc")] == [18, 360001, 8, 90, None, None]
    assert [nodes_of(text) for text in ("pbs/1", "n1/0*4+n1/1+n2/0", "")] == ["pbs", "n1,n2", ""]
    assert group_elements([3, 1, 2]) == range(1, 4)
    assert group_elements([3, 1]) == (1, 3)
