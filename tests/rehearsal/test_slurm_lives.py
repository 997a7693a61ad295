"""What jobs live through on a rehearsed Slurm, with a clock that the test moves."""

from __future__ import annotations

import json

import pytest
from slurm_bench import LIKE_THE_REAL_ONE, Bench

from hpcsweep.rehearsal.cluster import Cluster
from hpcsweep.rehearsal.face import Call, NeedsStdinError, Place, SettingError, make_settings
from hpcsweep.rehearsal.slurm import FACE
from hpcsweep.rehearsal.slurm_site import make_site

PLACE = Place(folder="/f", bin="/f/bin", spool="/f/spool", tmp="/f/tmp", undelivered="/f/undelivered")


@pytest.fixture
def bench(tmp_path) -> Bench:
    (tmp_path / "ends.sh").write_text(
        "#!/bin/bash\ncase $SLURM_ARRAY_TASK_ID in 1) exit 7;; 2) kill -9 $$;; *) sleep 5;; esac\n"
    )
    return Bench(cwd=tmp_path)


def with_settings(bench: Bench, **settings) -> Bench:
    return Bench(cwd=bench.cwd, given={**LIKE_THE_REAL_ONE, **settings})


def queue(bench: Bench, form: str = "%i %T %r", *words: str) -> list[str]:
    return bench.out(f"squeue -h -o '{form}' {' '.join(words)}")


def history(bench: Bench, job: str, form: str = "jobid,state,exitcode", *words: str) -> list[str]:
    return bench.out(f"sacct -n -P -X -j {job} -o {form} {' '.join(words)}")


def element(bench: Bench, job: str, index: int = 0):
    return bench.cluster.jobs[int(job)].elements[index]


def plan(bench: Bench, job: str, index: int = 0):
    return FACE.plan(bench.cluster, bench.cluster.jobs[int(job)], element(bench, job, index), PLACE, bench.now)


# ---- submission ----


def test_the_answer_of_sbatch(bench):
    assert bench.out("sbatch ends.sh") == ["Submitted batch job 1"]
    assert bench.out("sbatch --parsable ends.sh") == ["2"]
    assert bench.out("sbatch -Q ends.sh") == []
    with pytest.raises(NeedsStdinError):
        bench.run("sbatch", stdin=None)
    assert bench.run("sbatch", stdin="#!/bin/sh\nsleep 5\n").stdout == "Submitted batch job 4\n"
    assert queue(bench, "%i %j %o", "-j 4") == ["4 sbatch (null)"]


def test_the_command_line_outranks_the_environment_and_that_the_script(bench):
    (bench.cwd / "job.sh").write_text("#!/bin/bash\n#SBATCH -p urgent -J 'of the script' -t 1\nsleep 9\n")
    bench.submit("job.sh")
    bench.submit("job.sh", SBATCH_PARTITION="short")
    bench.submit("-p main -t 3 job.sh", SBATCH_PARTITION="short", SBATCH_TIMELIMIT="2")
    assert sorted(queue(bench, "%i %P %l %j")) == [
        "1 urgent 1:00 of the script",
        "2 short 1:00 of the script",
        "3 main 3:00 of the script",
    ]


def test_the_largest_index_is_limited_not_the_count(bench):
    assert bench.run("sbatch --array=10001 ends.sh").code == 1
    assert bench.submit("-H --array=10000 ends.sh") == "1"
    assert bench.submit("-H --array=0-10000 ends.sh") == "2"


def test_each_element_counts_against_what_a_user_may_queue(bench):
    few = "-q few -H --array={} ends.sh"
    assert bench.run("sbatch " + few.format("0-4")).stderr.startswith("sbatch: error: QOSMaxSubmitJobPerUserLimit\n")
    bench.submit(few.format("0-2"))
    assert bench.run("sbatch " + few.format("0-1")).code == 1
    bench.submit(few.format("7"))
    bench.out("scancel 1_0")
    bench.submit(few.format("8"))
    limited = with_settings(bench, max_submit=3)
    assert "AssocMaxSubmitJobLimit" in limited.run("sbatch --array=0-3 ends.sh").stderr


def test_a_refusal_takes_an_id_and_stands_in_the_history_as_a_job_that_was_nowhere(bench):
    assert bench.run("sbatch -J no --array=0-3 --mem=900G ends.sh").code == 1
    assert bench.out("sacct -n -P -X --name=no -o jobid,state,exitcode,nodelist") == ["1|FAILED|1:0|None assigned"]
    assert queue(bench) == []
    assert bench.submit("ends.sh") == "2"


def test_what_is_held_is_looked_at_when_it_is_released(bench):
    job = bench.submit("-H --mem=900G ends.sh")
    bench.out(f"scontrol release {job}")
    assert queue(bench) == ["1 PENDING BadConstraints"]


def test_a_partition_with_too_short_a_limit_lets_it_wait(bench):
    job = bench.submit("-p short -t 10 ends.sh")
    assert queue(bench) == ["1 PENDING PartitionTimeLimit"]
    bench.out(f"scontrol update jobid={job} timelimit=1")
    assert queue(bench, "%T") == ["RUNNING"]
    assert queue(bench, "%r", "-j", bench.submit("-N 9 ends.sh")) == ["PartitionNodeLimit"]
    assert queue(bench, "%r", "-j", bench.submit("-c 99 ends.sh")) == ["PartitionConfig"]


def test_names_that_a_site_has(bench):
    own = with_settings(bench, partitions="gpu_4,dev:30", accounts="any", qos="any", features="a100,ib")
    job = own.submit("-p dev -A whoever -q whatever -C 'a100&ib' ends.sh")
    assert queue(own, "%P|%a|%q|%l|%f", "-j", job) == ["dev|whoever|whatever|30:00|a100&ib"]
    assert queue(own, "%P", "-j", own.submit("-H ends.sh")) == ["gpu_4"]
    assert own.run("sbatch -p main ends.sh").code == 1
    assert [line.split()[0] for line in own.out("sinfo -h")] == ["gpu_4*", "gpu_4*", "dev", "dev"]
    with pytest.raises(SettingError, match="partitions=x:y"):
        make_site(make_settings(FACE.table, {"partitions": "x:y"}), "vm")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("", "QOSMaxSubmitJobPerUserLimit"),
        ("partition", "Invalid partition name specified"),
        ("array", "Invalid job array specification"),
        ("memory", "Memory specification can not be satisfied"),
        ("busy", "Resource temporarily unavailable"),
    ],
)
def test_refusals_on_demand(bench, reason, words):
    bench.fault(f"refuse={reason},1")
    answer = bench.run("sbatch -J it ends.sh")
    assert (answer.stdout, answer.code) == ("", 1)
    assert words in answer.stderr
    assert bench.out("sacct -n -P -X --name=it -o state") == (["FAILED"] if reason == "memory" else [])
    assert bench.run("sbatch ends.sh").code == 0


# ---- arrays ----


def test_pending_elements_share_a_line_until_they_start(bench):
    bench.submit("--array=0-9%2 --wrap 'sleep 600'")
    assert queue(bench, "%i|%F|%K|%A|%T|%r") == [
        "1_[2-9%2]|1|2-9%2|1|PENDING|JobArrayTaskLimit",
        "1_0|1|0|2|RUNNING|None",
        "1_1|1|1|3|RUNNING|None",
    ]
    bench.out("scontrol hold 1_4")
    assert queue(bench, "%i|%r", "-t PD") == ["1_[2-9]|JobArrayTaskLimit,JobHeldUser"]
    assert len(queue(bench, "%i", "-r -t PD")) == 8
    bench.out("scontrol update jobid=1 arraytaskthrottle=3")
    assert queue(bench, "%i", "-t R") == ["1_0", "1_1", "1_2"]


def test_the_last_element_has_the_arrays_own_id(bench):
    bench.submit("--array=0-3%2 ends.sh")
    bench.pass_time(30)
    assert history(bench, "1", "jobid,jobidraw") == ["1_0|2", "1_1|3", "1_2|4", "1_3|1"]
    assert history(bench, "3", "jobid") == ["1_1"]


def test_long_lists_are_cut(bench):
    bench.submit("-H --array=0,2,5,9,14,20,27,35,44,54,65,77,90,104,119,135,152,170,189,209,230,252,275 ends.sh")
    (cut,) = bench.out("squeue -h -o %K")
    assert (len(cut), cut[-3:]) == (63, "...")
    assert len(bench.out("squeue -h -o %i")[0]) == 31
    (whole,) = bench.out("squeue -h -o %i", SLURM_BITSTR_LEN="0")
    assert whole.endswith(",252,275]")


def test_ten_thousand_elements(bench):
    bench.submit("--array=0-9999 --wrap 'sleep 600'")
    assert queue(bench, "%i", "-t PD") == ["1_[32-9999]"]
    assert len(queue(bench, "%i", "-r")) == 10_000


# ---- ends ----


def test_how_elements_end(bench):
    bench.submit("--array=0-2 ends.sh")
    bench.pass_time(10)
    assert history(bench, "1") == ["1_0|COMPLETED|0:0", "1_1|FAILED|7:0", "1_2|FAILED|0:9"]
    assert queue(bench) == []
    assert queue(bench, "%i %t", "-t all", "-j 1") == ["1_0 CD", "1_1 F", "1_2 F"]


def test_a_job_is_known_for_min_job_age(bench):
    job = bench.submit("ends.sh")
    bench.pass_time(10)
    assert queue(bench, "%i", f"-j {job}") == []
    bench.pass_time(300)
    assert bench.run(f"squeue -j {job}").stderr == "slurm_load_jobs error: Invalid job id specified\n"
    assert bench.run(f"scontrol show job {job}").code == 1
    assert queue(bench, "%i", f"-j {job},999") == []
    assert history(bench, job) == ["1|COMPLETED|0:0"]


def test_a_time_limit_has_minutes_and_kill_wait_follows(bench):
    job = bench.submit("-t 1 --signal=B:USR1@20 --wrap 'trap x TERM; sleep 600'")
    bench.pass_time(60)
    assert bench.signals == [(1, 0, 10, "leader"), (1, 0, 15, "leader")]
    assert queue(bench, "%i %T") == ["1 COMPLETING"]
    assert history(bench, job, "state,exitcode,elapsedraw") == ["TIMEOUT|0:0|60"]
    bench.pass_time(3)
    assert bench.signals[2:] == [(1, 0, 9, "all")]
    assert queue(bench) == []
    assert bench.words == ["slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT " + bench.words[0].split(" AT ")[1]]
    assert bench.words[0].endswith(" DUE TO TIME LIMIT ***\n")


def test_a_minute_can_be_short(bench):
    short = with_settings(bench, minute_s=1)
    job = short.submit("-t 2 --wrap 'sleep 600'")
    short.pass_time(2)
    assert history(short, job, "state,timelimit") == ["TIMEOUT|00:02:00"]


def test_a_signal_without_b_reaches_nobody(bench):
    bench.submit("-t 1 --signal=USR1@20 --wrap 'sleep 600'")
    bench.out("scancel -s USR1 1")
    bench.pass_time(59)
    assert bench.signals == []
    bench.out("scancel -b -s USR1 1")
    bench.out("scancel -f -s USR2 1")
    bench.pass_time(0)
    assert bench.signals == [(1, 0, 10, "leader"), (1, 0, 12, "session")]


def test_out_of_memory_and_a_node_that_fails(bench):
    bench.submit("--wrap 'sleep 600'")
    bench.submit("--no-requeue --wrap 'sleep 600'")
    bench.fault("oom=1")
    bench.pass_time(1)
    bench.fault("node-lost=n1")
    bench.pass_time(1)
    assert history(bench, "1,2") == ["1|OUT_OF_MEMORY|0:125", "2|NODE_FAIL|1:0"]
    assert bench.out("sinfo -h -p main -o '%t %N'") == ["down n1", "idle n[2-4]"]


def test_a_requeue_keeps_the_id_and_counts(bench):
    job = bench.submit("--array=0-1 --wrap 'sleep 600'")
    bench.pass_time(5)
    bench.out(f"scontrol requeue {job}_0")
    bench.pass_time(1)
    assert queue(bench) == ["1_0 PENDING BeginTime", "1_1 RUNNING None"]
    assert history(bench, job) == ["1_0|REQUEUED|0:0", "1_1|RUNNING|0:0"]
    bench.pass_time(125)
    assert sorted(history(bench, job)) == ["1_0|RUNNING|0:0", "1_1|RUNNING|0:0"]
    before, after = history(bench, f"{job}_0", "state,jobidraw,submit", "-D")
    assert (before.split("|")[:2], after.split("|")[:2]) == (["REQUEUED", "2"], ["RUNNING", "2"])
    assert before.split("|")[2] < after.split("|")[2]
    assert plan(bench, job, 0).env["SLURM_RESTART_COUNT"] == "1"
    assert "SLURM_RESTART_COUNT" not in plan(bench, job, 1).env
    bench.out(f"scontrol requeuehold {job}_1")
    bench.pass_time(1)
    assert queue(bench)[0] == "1_1 PENDING job requeued in held state"


def test_what_a_lost_node_had_runs_again(bench):
    own = with_settings(bench, requeue_delay_s=0)
    job = own.submit("--array=0-1 --wrap 'sleep 600'")
    own.fault("node-lost=n1")
    own.pass_time(1)
    assert queue(own, "%i %T %N") == ["1_0 RUNNING n2", "1_1 RUNNING n2"]
    assert sorted(history(own, job, "state", "-D")) == ["NODE_FAIL", "NODE_FAIL", "RUNNING", "RUNNING"]


def test_a_finished_task_can_be_told_to_run_again(bench):
    job = bench.submit("ends.sh")
    bench.pass_time(10)
    bench.out(f"scontrol requeue {job}")
    assert queue(bench) == ["1 PENDING BeginTime"]


# ---- scancel ----


def test_cancelled_elements(bench):
    job = bench.submit("--array=0-9%2 --wrap 'sleep 600'")
    bench.out(f"scancel {job}_0 {job}_[4-5] {job}_77")
    bench.pass_time(1)
    assert queue(bench, "%i", "-t PD") == ["1_[3,6-9%2]"]
    bench.out(f"scancel {job}")
    bench.pass_time(1)
    assert history(bench, job, "jobid,state") == [
        "1_0|CANCELLED by 1001",
        "1_1|CANCELLED by 1001",
        "1_2|CANCELLED by 1001",
        "1_[3,6-9%2]|CANCELLED by 1001",
    ]
    # Without -j, what never was eligible is not there.
    assert len(bench.out("sacct -n -P -X -o jobid")) == 3


def test_a_name_has_to_fit_and_makes_pending_elements_one(bench):
    job = bench.submit("-J mine --array=0-9 -H ends.sh")
    bench.out(f"scancel --name=other {job}")
    assert queue(bench, "%i") == ["1_[0-9]"]
    bench.out(f"scancel {job}_3")
    assert queue(bench, "%i") == ["1_[0-2,4-9]"]
    bench.out(f"scancel --name=mine {job}_4")
    assert queue(bench, "%i") == []


def test_only_what_is_pending(bench):
    job = bench.submit("-J mine --array=0-9%2 --wrap 'sleep 600'")
    bench.out(f"scancel --state=PENDING --name=mine {job}")
    assert queue(bench) == ["1_0 RUNNING None", "1_1 RUNNING None"]
    bench.out("scancel --state=RUNNING")
    assert queue(bench) == []


# ---- waiting ----


def test_holds_of_the_user_and_of_root(bench):
    job = bench.submit("-J mine -H --array=0-3 --wrap 'sleep 600'")
    bench.uid = 0
    bench.out("scontrol hold jobname=mine")
    assert queue(bench) == ["1_[0-3] PENDING JobHeldAdmin"]
    bench.out(f"scontrol release {job}_2")
    assert queue(bench) == [
        "1_0 PENDING JobHeldAdmin",
        "1_1 PENDING JobHeldAdmin",
        "1_3 PENDING JobHeldAdmin",
        "1_2 RUNNING None",
    ]
    bench.out("scontrol release jobname=mine")
    assert {line.split()[1] for line in queue(bench)} == {"RUNNING"}


def test_dependencies(bench):
    bad = bench.submit("-J bad --wrap 'sleep 5; exit 3'")
    good = bench.submit("-J good --array=0-1 --wrap 'sleep 5'")
    waiting = {
        "never": bench.submit(f"-d afterok:{bad} ends.sh"),
        "any": bench.submit(f"-d afterany:{bad}:{good} --wrap 'sleep 99'"),
        "either": bench.submit(f"-d 'afterok:{bad}?afterok:{good}_1' --wrap 'sleep 99'"),
        "alone": bench.submit("-J good -d singleton --wrap 'sleep 99'"),
        "gone": bench.submit("-d afterok:999999 --wrap 'sleep 99'"),
        "killed": bench.submit(f"-d afterok:{bad} --kill-on-invalid-dep=yes ends.sh"),
    }
    reasons = dict(line.split(" ", 1) for line in queue(bench, "%i %r|%E"))
    assert reasons[waiting["never"]] == f"Dependency|afterok:{bad}(unfulfilled)"
    assert reasons[waiting["any"]] == f"Dependency|afterany:{bad}(unfulfilled),afterany:{good}_*(unfulfilled)"
    assert reasons[waiting["either"]] == f"Dependency|afterok:{bad}(unfulfilled)?afterok:{good}_1(unfulfilled)"
    assert reasons[waiting["gone"]] == "None|(null)"
    bench.pass_time(6)
    states = dict(line.split(" ", 1) for line in queue(bench, "%i %T %r|%E"))
    assert states == {
        waiting["never"]: f"PENDING DependencyNeverSatisfied|afterok:{bad}(failed)",
        **{waiting[name]: "RUNNING None|(null)" for name in ("any", "either", "alone", "gone")},
    }
    assert history(bench, waiting["killed"], "state") == ["CANCELLED by 1001"]


def test_a_time_to_begin_and_room(bench):
    bench.submit("--begin=now+60 --wrap 'sleep 5'")
    bench.submit("-c 8 --array=0-3 --wrap 'sleep 5'")
    bench.submit("-c 8 --array=0-1 --wrap 'sleep 5'")
    bench.submit("-c 1 ends.sh")
    first, *others = [line for line in queue(bench) if "PENDING" in line]
    assert first.startswith("1 PENDING BeginTime")
    assert [line.split()[2] for line in others] == ["Resources", "Priority"]
    bench.pass_time(61)
    assert queue(bench) == ["1 RUNNING None"]


# ---- the controller and the history ----


def test_a_controller_that_crashed_forgets_and_gives_ids_again(bench):
    bench.submit("-J first --wrap 'sleep 600'")
    lost = bench.submit("-J second --array=0-3 -H ends.sh")
    bench.fault("forget=1")
    assert bench.run(f"squeue -j {lost}").code == 1
    assert bench.submit("-J third -H ends.sh") == lost
    assert queue(bench, "%i %j") == ["2 third", "1 first"]


def test_a_history_that_lags(bench):
    slow = with_settings(bench, history_lag_s=2.0)
    job = slow.submit("ends.sh")
    slow.pass_time(6)
    assert (queue(slow), history(slow, job, "state")) == ([], ["RUNNING"])
    slow.pass_time(2)
    assert history(slow, job, "state") == ["COMPLETED"]


def test_a_history_that_is_late_empty_or_off(bench):
    job = bench.submit("ends.sh")
    bench.pass_time(10)
    bench.fault("history-late=60")
    assert history(bench, job) == []
    bench.pass_time(50)
    assert history(bench, job, "state") == ["RUNNING"]
    bench.pass_time(10)
    assert history(bench, job, "state") == ["COMPLETED"]
    bench.fault("history-empty")
    assert history(bench, job) == []
    for own in (with_settings(bench, history="off"), bench):
        own.fault("history-off")
        answer = own.run("sacct -n")
        assert (answer.stdout, answer.stderr, answer.code) == ("", "Slurm accounting storage is disabled\n", 1)
        assert own.run("sacctmgr -n show qos").code == 1


def test_times_are_told_and_read_in_the_callers_zone(bench):
    job = bench.submit("ends.sh")
    bench.pass_time(10)
    query = f"sacct -n -P -X -j {job} -S 2026-11-20T19:00:00 -E 2026-11-20T20:00:00 -o submit"
    assert bench.out(query, TZ="UTC") == []
    assert bench.out(query, TZ="Europe/Berlin") == ["2026-11-20T19:20:00"]


def test_what_was_kept_is_read_again(bench):
    bench.submit("--array=0-9%2 -o out-%a --wrap 'sleep 600'")
    bench.out("scontrol requeue 1_0")
    bench.pass_time(1)
    bench.out("scancel 1_[3-9]")
    commands = ("squeue -h", "squeue -t all", "sacct -P -j 1 -D", "scontrol show job 1")
    before = [bench.run(line).stdout for line in commands]
    records = json.loads(json.dumps(bench.cluster.snapshot()))
    again = Cluster(FACE.rules(bench.settings))
    again.restore(records)
    bench.desk.cluster = again
    assert [bench.run(line).stdout for line in commands] == before


# ---- how elements run ----


def test_the_environment_of_an_element(bench):
    job = bench.submit(
        "-J name --array=3-9:3 --gres=gpu:2 -n 2 -c 1 --mem=100M ends.sh", MINE="1", SLURM_ARRAY_TASK_ID="77", PATH="/bin"
    )
    env = plan(bench, job, 6).env
    assert (env["MINE"], env["PATH"], env["SLURM_SUBMIT_DIR"]) == ("1", "/f/bin:/bin", str(bench.cwd))
    prefix = "SLURM_ARRAY_"
    array = {name.removeprefix(prefix): value for name, value in env.items() if name.startswith(prefix)}
    assert array == {"JOB_ID": "1", "TASK_ID": "6", "TASK_COUNT": "3", "TASK_MIN": "3", "TASK_MAX": "9", "TASK_STEP": "3"}
    assert (env["SLURM_JOB_ID"], env["SLURM_JOB_NAME"], env["SLURM_JOB_NODELIST"]) == ("3", "name", "n1")
    assert (env["SLURM_NTASKS"], env["SLURM_CPUS_PER_TASK"], env["SLURM_MEM_PER_NODE"]) == ("2", "1", "100")
    given = [plan(bench, job, index).env["CUDA_VISIBLE_DEVICES"] for index in (3, 6, 9)]
    assert given == ["0,1", "2,3", "0,1"]
    assert (env["SLURM_JOB_GPUS"], env["SLURM_GPUS_ON_NODE"]) == ("2,3", "2")


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        ("", {"MINE": "1", "YOURS": "2"}),
        ("--export=NONE", {"SLURM_EXPORT_ENV": "NONE"}),
        ("--export=MINE,NEW=3", {"MINE": "1", "NEW": "3", "SLURM_EXPORT_ENV": "MINE,NEW=3"}),
        ("--export=ALL,MINE=9", {"MINE": "9", "YOURS": "2", "SLURM_EXPORT_ENV": "ALL,MINE=9"}),
    ],
)
def test_what_is_exported(bench, export, expected):
    env = plan(bench, bench.submit(f"{export} ends.sh", MINE="1", YOURS="2")).env
    names = ("MINE", "YOURS", "NEW", "SLURM_EXPORT_ENV")
    assert {name: env[name] for name in names if name in env} == expected


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ("", "slurm-1.out"),
        ("--array=4", "slurm-1_4.out"),
        ("--array=4 -o %A-%3a-%x-%j", "1-004-ends.sh-1"),
        ("-o /logs/%u/%N.%%", "/logs/user/n1.%"),
        (r"-o '\%j'", "%j"),
    ],
)
def test_where_output_goes(bench, options, output):
    job = bench.submit(f"{options} ends.sh")
    made = plan(bench, job, 4 if "array" in options else 0)
    expected = output if output.startswith("/") else f"{bench.cwd}/{output}"
    assert (made.stdout, made.stderr, made.appends) == (expected, expected, False)
    assert bench.out(f"squeue -h -O stdout:200 -j {job}")[0].strip() == expected


def test_how_the_script_runs(bench):
    (bench.cwd / "script").write_text("#!/usr/bin/env -S python3\nprint()\n")
    (bench.cwd / "else").mkdir()
    made = plan(bench, bench.submit("-D else --open-mode=append -e err script one 'two three'"))
    assert made.argv == ("/usr/bin/env", "-S python3", made.script_path, "one", "two three")
    assert (made.executable, made.cwd, made.appends) == ("/usr/bin/env", f"{bench.cwd}/else", True)
    assert (made.stdout, made.stderr) == (f"{bench.cwd}/else/slurm-1.out", f"{bench.cwd}/else/err")
    assert made.script == (bench.cwd / "script").read_text()


def test_waiting_for_a_job(bench):
    answer = bench.run("sbatch -W --wrap 'sleep 5; exit 3'")
    assert (answer.stdout, answer.awaits) == ("Submitted batch job 1\n", 1)
    bench.pass_time(6)
    assert FACE.waited(bench.cluster, 1) == 3


def test_a_face_says_at_once_what_it_would_do_without_a_controller(bench):
    call = Call(program="scontrol", argv=("show", "config"), cwd="/", env={}, settings=bench.settings)
    assert FACE.unreachable(call, "down").stderr.startswith("slurm_load_ctl_conf error: Unable to contact")
