"""An element that several tasks share: its places, its GPUs, and what happens to the others when something happens to one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from small_runs import Run, await_that, block, processes_in_session

# Says when it begins and ends; between the two it waits for a file, if one is named.
SPAN = 'printf "begin %s\\n" "$(date +%s.%N)"; sleep {seconds}; printf "end %s\\n" "$(date +%s.%N)"'
GPUS = 'echo "cuda=${CUDA_VISIBLE_DEVICES-unset} rocr=${ROCR_VISIBLE_DEVICES-unset} hip=${HIP_VISIBLE_DEVICES-unset} slot=$HPCSWEEP_SLOT"'


def wait_for(path: Path) -> str:
    return f"until [[ -e '{path}' ]]; do sleep 0.02; done"


def packed(run: Run, commands: list[str], *, parallel: int = 2, before: str = "", setup: str = "", **header: object) -> None:
    blocks = [block(position, command) for position, command in enumerate(commands)]
    run.add_array(blocks, tasks_per_element=len(commands), parallel=parallel, before=before, setup=setup, **header)


def span_of(run: Run, task: int) -> tuple[float, float]:
    log = run.log(task)
    begin, end = (re.search(rf"{word} ([0-9.]+)", log) for word in ("begin", "end"))
    assert begin is not None, log
    assert end is not None, log
    return float(begin[1]), float(end[1])


def most_at_once(spans: list[tuple[float, float]]) -> int:
    steps = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def supervisors_of(run: Run, task: int) -> int:
    """The process that runs a task: its claim names it."""
    return int(run.event(f"{task}.1").read_text().split()[3])


class TestPlaces:
    def test_all_run_so_many_at_a_time(self, run):
        packed(run, [SPAN.format(seconds=0.2)] * 7, parallel=3)
        assert run.run() == 0
        assert run.outcomes() == [f"{task}.1.done.0" for task in range(7)]
        assert most_at_once([span_of(run, task) for task in range(7)]) == 3
        assert run.complaints() == ""

    def test_whoever_ends_first_makes_room(self, run, tmp_path):
        slow = wait_for(tmp_path / "go")
        packed(run, [slow, "true", "true", "true", f"touch '{tmp_path}/go'"], parallel=2)
        assert run.run() == 0
        assert len(run.outcomes()) == 5

    def test_the_elements_share_the_positions(self, run):
        run.add_array([block(position, "true") for position in range(5)], tasks_per_element=2, parallel=2)
        assert run.run(element=1) == 0
        assert run.outcomes() == ["2.1.done.0", "3.1.done.0"]
        assert run.run(element=2) == 0
        assert run.outcomes()[-1] == "4.1.done.0"

    def test_positions_of_several_chunks(self, make_run):
        run = make_run(chunk_size=2)
        packed(run, [f"echo {number}" for number in range(5)], parallel=2)
        assert run.run() == 0
        assert [run.log(task) for task in range(5)] == [f"{number}\n" for number in range(5)]

    def test_one_that_fails_touches_no_other(self, run):
        packed(run, ["exit 3", "kill -9 $$", "true", "kill -TERM $$; sleep 9", "exit 0"])
        assert run.run() == 1
        assert run.outcomes() == ["0.1.done.3", "1.1.sig.9", "2.1.done.0", "3.1.sig.15", "4.1.done.0"]

    def test_edited_commands_run_nothing(self, run):
        packed(run, ["true", "true"])
        chunk = run.path / "arrays/001/tasks/0000.sh"
        chunk.write_text(chunk.read_text().replace("'true'", "'echo edited'"))
        assert run.run() == 1
        assert run.outcomes() == ["0.1.broken.1", "1.1.broken.1"]

    def test_what_a_program_leaves_behind_ends_with_it(self, run, tmp_path):
        packed(run, [f"sleep 1000 & echo $! >'{tmp_path}/pid'", "true"], parallel=1)
        assert run.run() == 0
        pid = int((tmp_path / "pid").read_text())
        await_that(
            lambda: not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text(), "it is gone"
        )


class TestOwnThings:
    def test_each_has_a_tmpdir_that_is_empty_and_goes(self, run, tmp_path):
        command = f'ls -A "$TMPDIR"; touch "$TMPDIR/x"; mkdir "$TMPDIR/.y"; echo "$TMPDIR" >>"{tmp_path}/$HPCSWEEP_SLOT"'
        packed(run, [command] * 4)
        assert run.run(TMPDIR=str(tmp_path)) == 0
        assert [run.log(task) for task in range(4)] == [""] * 4
        folders = {
            place: set((tmp_path / place).read_text().split("\n")[:-1]) for place in ("0", "1") if (tmp_path / place).exists()
        }
        assert all(len(paths) == 1 for paths in folders.values())
        assert not list(tmp_path.glob("hpcsweep.*"))

    def test_ports_and_places_differ(self, run, tmp_path):
        meet = f"touch '{tmp_path}/'$HPCSWEEP_SLOT; until [[ -e '{tmp_path}/0' && -e '{tmp_path}/1' ]]; do sleep 0.02; done"
        packed(run, [f"{meet}; echo $HPCSWEEP_SLOT $HPCSWEEP_MASTER_PORT"] * 2)
        assert run.run() == 0
        places, ports = zip(*(run.log(task).split() for task in range(2)), strict=True)
        assert set(places) == {"0", "1"}
        assert len(set(ports)) == 2

    def test_threads_are_those_of_the_task(self, run):
        packed(run, ["echo $OMP_NUM_THREADS"] * 2, task_cpus=3)
        assert run.run(OMP_NUM_THREADS="6") == 0
        assert run.log(0) == "3\n"


class TestSetup:
    def test_runs_once_and_all_find_what_it_made(self, run, tmp_path):
        setup = f"echo once >>'{tmp_path}/count'; echo said; export FOUND=1; greet() {{ echo hello; }}; cd /"
        packed(run, ['echo "$FOUND"; greet'] * 3, setup=setup)
        assert run.run() == 0
        assert (tmp_path / "count").read_text() == "once\n"
        assert {run.log(task) for task in range(3)} == {"said\n1\nhello\n"}

    @pytest.mark.parametrize("end", ["return 7", "exit 7", "(exit 7)", "set -e; (exit 7); echo no"])
    def test_that_fails_is_every_tasks_failure(self, run, end):
        packed(run, ["echo ran"] * 3, setup=f"echo what went wrong; {end}")
        assert run.run() == 1
        assert run.outcomes() == [f"{task}.1.setup.7" for task in range(3)]
        assert {run.log(task) for task in range(3)} == {"what went wrong\n"}

    def test_teardown_comes_once_after_all(self, run, tmp_path):
        blocks = [block(position, f"echo task >>'{tmp_path}/order'") for position in range(3)]
        run.add_array(blocks, tasks_per_element=3, parallel=2, teardown=f"echo teardown >>'{tmp_path}/order'")
        assert run.run() == 0
        assert (tmp_path / "order").read_text() == "task\ntask\ntask\nteardown\n"

    def test_that_leaves_with_a_trap_of_its_own_is_told_too(self, run):
        packed(run, ["echo ran"] * 2, setup="trap 'echo bye' EXIT; exit 4")
        assert run.run() == 1
        assert run.outcomes() == ["0.1.setup.4", "1.1.setup.4"]

    def test_that_is_ended_from_outside_is_no_failure(self, run, tmp_path):
        packed(run, ["echo ran"] * 2, setup=f"set -e; touch '{tmp_path}/up'; sleep 1000")
        process = run.start()
        await_that((tmp_path / "up").exists, "setup runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert [name for name in run.events() if not name.startswith(".")] == []

    def test_that_hangs_has_no_more_time_than_the_element(self, run):
        packed(run, ["echo ran"] * 3, setup="sleep 1000", time_limit_s=1, enforce_time_limit=1)
        assert run.run() == 143
        assert run.outcomes() == [f"{task}.1.timeout.0" for task in range(3)]

    def test_its_traps_and_its_umask_are_for_the_tasks_alone(self, run):
        packed(run, ["umask; echo up; sleep 1000"] * 2, setup="trap 'echo no' TERM; umask 077", umask="022")
        process = run.start()
        run.await_log("up", 0)
        run.await_log("up", 1)
        assert run.log(0) == "0077\nup\n"
        assert run.event("0.1").stat().st_mode & 0o777 == 0o644
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert {"0.1.r0.run", "1.1.r0.run"} <= set(run.events())
        assert not processes_in_session(process.pid)

    def test_functions_with_names_of_tools_are_for_the_tasks_alone(self, run):
        packed(run, ["read"] * 2, setup="read() { echo mine; }; kill() { echo no; }; wait() { :; }")
        assert run.run() == 0
        assert [run.log(task) for task in range(2)] == ["mine\n"] * 2


def gpus_of(run: Run, tasks: int) -> list[dict[str, str]]:
    return [dict(word.split("=") for word in run.log(task).split()) for task in range(tasks)]


class TestGpus:
    @pytest.mark.parametrize(
        "granted", ["0,1,2,3", "GPU-5ebe,GPU-77aa,GPU-01,GPU-02", "MIG-a/1/0,MIG-a/2/0,MIG-b/1/0,MIG-b/2/0", "7,3,5,1"]
    )
    def test_each_place_has_its_own(self, run, granted):
        packed(run, [GPUS] * 8, parallel=4, gpus_per_task=1)
        assert run.run(CUDA_VISIBLE_DEVICES=granted) == 0
        for found in gpus_of(run, 8):
            assert found["cuda"] == granted.split(",")[int(found["slot"])]

    def test_two_to_a_task(self, run):
        packed(run, [GPUS] * 4, gpus_per_task=2)
        assert run.run(CUDA_VISIBLE_DEVICES="0,1,2,3") == 0
        assert all(found["cuda"] == {"0": "0,1", "1": "2,3"}[found["slot"]] for found in gpus_of(run, 4))

    def test_several_on_one(self, run, tmp_path):
        meet = f"touch '{tmp_path}/m'$HPCSWEEP_SLOT; until ls '{tmp_path}'/m[0-3] >/dev/null 2>&1 && (($(ls '{tmp_path}'/m? | wc -l) == 4)); do sleep 0.02; done"
        packed(run, [f"{meet}; {GPUS}"] * 4, parallel=4, tasks_per_gpu=2)
        assert run.run(CUDA_VISIBLE_DEVICES="4,5") == 0
        assert sorted(found["cuda"] for found in gpus_of(run, 4)) == ["4", "4", "5", "5"]

    def test_groups(self, run):
        packed(run, [GPUS] * 4, gpus_per_task=1, before="hpcsweep_gpu_groups=('0' '1,2')")
        assert run.run(CUDA_VISIBLE_DEVICES="9") == 0
        assert all(found["cuda"] == {"0": "0", "1": "1,2"}[found["slot"]] for found in gpus_of(run, 4))

    def test_other_makers_variables(self, run):
        packed(run, [GPUS] * 2, gpus_per_task=1)
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        assert "CUDA_VISIBLE_DEVICES" not in environment
        assert run.run(ROCR_VISIBLE_DEVICES="2,3") == 0
        assert all(
            (found["rocr"], found["cuda"]) == ({"0": "2", "1": "3"}[found["slot"]], "unset") for found in gpus_of(run, 2)
        )

    def test_variables_that_name_the_same_in_other_words(self, run):
        packed(run, [GPUS] * 2, gpus_per_task=1)
        assert run.run(CUDA_VISIBLE_DEVICES="GPU-a,GPU-b", HIP_VISIBLE_DEVICES="0,1") == 0
        assert {(found["cuda"], found["hip"]) for found in gpus_of(run, 2)} <= {("GPU-a", "0"), ("GPU-b", "1")}

    @pytest.mark.parametrize(
        ("environment", "part"),
        [
            ({"SLURM_JOB_GPUS": "0,1"}, "0"),
            ({"SLURM_STEP_GPUS": "2-3"}, "2"),
            ({"SITE_GPUS": "a,b", "CUDA_VISIBLE_DEVICES": "8,9"}, "a"),
        ],
    )
    def test_what_else_may_say_it(self, run, environment, part):
        packed(run, [GPUS] * 2, gpus_per_task=1, gpus_from="SITE_GPUS")
        assert run.run(**environment) == 0
        assert part in {found["cuda"] for found in gpus_of(run, 2)}

    def test_a_file_of_torque(self, run, tmp_path):
        (tmp_path / "gpus").write_text("nodeX-gpu3\nnodeX-gpu1\n")
        packed(run, [GPUS] * 2, gpus_per_task=1)
        assert run.run(PBS_GPUFILE=str(tmp_path / "gpus")) == 0
        assert {found["cuda"] for found in gpus_of(run, 2)} <= {"3", "1"}

    @pytest.mark.parametrize("granted", ["0", "", "NoDevFiles"])
    def test_fewer_than_asked_start_nothing(self, run, granted):
        packed(run, ["echo begun"] * 3, gpus_per_task=1)
        assert run.run(CUDA_VISIBLE_DEVICES=granted) == 1
        assert run.outcomes() == [f"{task}.1.broken.7" for task in range(3)]
        assert "2 GPUs were asked for, and " in run.log(0)
        assert "begun" not in run.log(0)

    def test_alone_with_fewer_than_asked(self, run):
        run.add_array([block(0, "echo ran")], gpus_per_task=2)
        assert run.run(CUDA_VISIBLE_DEVICES="0") == 1
        assert run.outcomes() == ["0.1.broken.7"]

    def test_where_nothing_is_said_one_runs_as_it_is(self, run):
        packed(run, [GPUS] * 2, parallel=1, gpus_per_task=1)
        assert run.run() == 0
        assert run.log(0).startswith("cuda=unset")

    def test_where_nothing_is_said_several_do_not_share(self, run):
        packed(run, ["echo ran"] * 2, gpus_per_task=1)
        assert run.run() == 1
        assert run.outcomes() == ["0.1.broken.7", "1.1.broken.7"]
        assert "set gpus_from" in run.log(1)


class TestTime:
    def test_each_has_its_own_limit(self, run):
        packed(run, ["sleep 1000", "true", "true"], task_time_limit_s=1, time_limit_s=60, enforce_time_limit=1)
        assert run.run() == 1
        assert run.outcomes() == ["0.1.timeout.0", "1.1.done.0", "2.1.done.0"]

    def test_what_would_not_fit_is_not_begun(self, run):
        packed(run, ["sleep 2.2", "true"], parallel=1, task_time_limit_s=3, time_limit_s=4, enforce_time_limit=1)
        assert run.run() == 0
        assert run.outcomes() == ["0.1.done.0"]
        assert "1.1" not in run.events()

    def test_the_elements_end_is_that_of_all_that_run(self, run):
        packed(run, ["sleep 1000", "sleep 1000", "true"], time_limit_s=1, enforce_time_limit=1)
        assert run.run() == 1
        assert run.outcomes() == ["0.1.timeout.0", "1.1.timeout.0"]


class TestEnds:
    def test_one_is_cancelled_and_the_others_go_on(self, run, tmp_path):
        packed(run, ["echo up; sleep 1000", f"echo up; {wait_for(tmp_path / 'go')}", "true"])
        process = run.start()
        run.await_log("up", 0)
        run.await_log("up", 1)
        run.event("0.1.cancel").touch()
        await_that(lambda: "2.1.done.0" in run.outcomes(), "the place is free")
        (tmp_path / "go").touch()
        process.wait(30)
        assert run.outcomes() == ["0.1.cancelled.0", "1.1.done.0", "2.1.done.0"]

    def test_one_that_was_cancelled_before_does_not_begin(self, run):
        packed(run, ["true", "echo ran"], parallel=1)
        run.event("1.1.cancel").touch()
        run.run()
        assert run.outcomes() == ["0.1.done.0", "1.1.cancelled.0"]

    def test_a_killed_supervisor_frees_its_place(self, run):
        packed(run, ["echo up; sleep 1000", "true", "true"], parallel=1)
        process = run.start()
        run.await_log("up", 0)
        os.kill(supervisors_of(run, 0), signal.SIGKILL)
        assert process.wait(30) == 1
        assert run.outcomes() == ["1.1.done.0", "2.1.done.0"]
        assert "0.1.r0.run" in run.events()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_an_element_that_is_ended_ends_its_tasks(self, run, number):
        packed(run, ["echo up; sleep 1000", "echo up; sleep 1000", "true"])
        process = run.start()
        run.await_log("up", 0)
        run.await_log("up", 1)
        process.send_signal(number)
        process.wait(30)
        await_that(lambda: not processes_in_session(process.pid), "nothing of it is left")
        assert run.outcomes() == []
        assert {"0.1.r0.run", "1.1.r0.run"} <= set(run.events())
        assert "2.1" not in run.events()

    def test_a_requeued_one_goes_on_with_what_is_open(self, run, tmp_path):
        packed(run, ["true", f"[[ -e '{tmp_path}/again' ]] || {{ echo up; sleep 1000; }}", "true"])
        process = run.start()
        run.await_log("up", 1)
        await_that(lambda: "2.1.done.0" in run.outcomes(), "the others have ended")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        (tmp_path / "again").touch()
        assert run.run() == 0
        assert run.outcomes() == ["0.1.done.0", "1.1.done.0", "2.1.done.0"]
        assert "restart 1" in run.log(1)
        assert "restart" not in run.log(0)

    def test_the_whole_element_cancelled(self, run):
        packed(run, ["echo up; sleep 1000", "true"], parallel=1)
        process = run.start()
        run.await_log("up", 0)
        run.event("cancel").touch()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert run.outcomes() == ["0.1.cancelled.0"]

    def test_signals_reach_the_programs(self, run):
        packed(run, ["trap 'echo got it; exit 0' USR1; echo up; while :; do sleep 0.05; done"] * 2)
        process = run.start()
        run.await_log("up", 0)
        run.await_log("up", 1)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(30) == 0
        assert all("got it" in run.log(task) for task in range(2))

    def test_no_more_begin_after_too_many_failures(self, run):
        packed(run, ["exit 1", "exit 1", "echo ran"], parallel=1, max_failures=2)
        run.run()
        assert run.outcomes() == ["0.1.done.1", "1.1.done.1"]


def test_cores_are_shared_out_whole(tmp_path):
    """What `hpcsweep_share_cpus` makes of the cores that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core cannot be shared")
    folder = Path(__file__).parents[2] / "hpcsweep" / "runner"
    script = f"""
    . '{folder}/runner.sh'; . '{folder}/packing.sh'
    hpcsweep_scheduler=slurm hpcsweep_parallel=2 hpcsweep_task_cpus={len(cores) // 2}
    hpcsweep_share_cpus
    printf '%s\\n' "${{hpcsweep_place_cpus[@]}}"
    """
    said = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    shares = [{int(number) for number in line.split(",")} for line in said.split()]
    assert len(shares) == 2
    assert not shares[0] & shares[1]
    assert {len(share) for share in shares} == {len(cores) // 2}
