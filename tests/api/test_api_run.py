"""Real runs on this machine, made and looked at from Python."""

from __future__ import annotations

import pytest

import hpcsweep as hs

TEMPLATE = """#!/bin/bash
#SBATCH --time=10
#SBATCH --job-name={job_name}
x=one
echo "out ${{x}} {type}"
echo "err {param}" >&2
if [ {param} = 5 ]; then exit 3; fi
echo "loss acc
{param} 0.5" > {job_name}.metrics
"""
PATTERN = "job_{type}_{param}_{hash}"


def test_template_from_submit_to_the_best(notebook):
    space = hs.ParamSpace(type="a", param=[1, 2]) + hs.ParamSpace(type="b", param=[4, 5])
    run = hs.submit(TEMPLATE, PATTERN, 2 * space, use="local")
    assert run == hs.open_run() == hs.open_run("run-01") == hs.open_run(run.path)

    status = run.wait(timeout=300)
    assert status.is_finished
    assert not status.is_success
    assert status.counts == {"done": 6, "failed": 2}
    assert status.failed == 2

    jobs = run.jobs
    assert list(jobs["param"]) == [1, 1, 2, 2, 4, 4, 5, 5]
    assert list(jobs["exit_code"]) == [0] * 6 + [3] * 2
    assert jobs["job"].notna().all()
    assert jobs["node"].notna().all()
    assert jobs["start"].notna().all()
    for task, name in zip(run.tasks, jobs["job_name"], strict=True):
        assert name == f"job_{task.params['type']}_{task.params['param']}_{task.id}"
        assert hs.parse_name(PATTERN, name) == {"type": task.params["type"], "param": task.params["param"]}
        assert (task.folder / f"{name}.metrics").exists() == (task.state == "done")

    task = run.task(2)
    assert task.params == {"type": "a", "param": 2, "rep": 0}
    assert "out one a" in task.stdout
    assert "err 2" in task.stderr
    assert run.logs(tail=1, tasks=[2]).splitlines()[1:] == ["err 2"]
    assert run.logs(failed=True).count("==> task") == 2
    assert next(iter(run.jobs_with_logs(tail=1)["stdout"])) == "err 1\n"

    frame = hs.metrics(run)
    assert list(frame["loss"].dropna()) == [1, 1, 2, 2, 4, 4]
    assert frame.attrs["params"] == ["type", "param", "rep"]
    assert frame.attrs["replicates"] == ["rep"]
    best = hs.best(run, 1, objective="loss:min")
    assert list(best["param"]) == [1]
    assert next(iter(hs.best(run, objective="loss:max", each=True)["loss"])) == 4
    with pytest.raises(hs.HpcsweepError, match="no objective"):
        hs.best(run)

    html = run._repr_html_()
    assert "<b>6</b> done" in html
    assert "failed" in html

    assert run.resubmit(tasks=[0]) == []  # it is done
    assert run.resubmit() == [6, 7]
    assert run.wait(timeout=300).counts == {"done": 6, "failed": 2}
    assert list(run.jobs["attempt"]) == [1] * 6 + [2] * 2
    assert run.cancel() == []


def test_sweep_built_in_python_and_as_the_file_that_it_writes(notebook):
    sweep = hs.Sweep(
        command="echo loss {{ x * 2 }} > $HPCSWEEP_TASK_DIR/m.metrics",
        space={"x": {"range": [1, 3]}},
        objective="loss:min",
        scheduler="local",
    )
    first = hs.submit(sweep)
    second = hs.submit(sweep.write("lr.yaml"), run_name="from-file", limit=2)
    assert second.name == "from-file"
    assert first.wait(timeout=300).is_success
    assert second.wait(timeout=300).is_success
    assert list(hs.metrics([first, "from-file"])["objective"]) == [2, 4, 6, 2, 4]
    assert list(hs.best(first, 1)["task"]) == [0]


def test_cancel(notebook):
    run = hs.submit("sleep 600 {x}", space=hs.ParamSpace(x=range(3)), use="local", jobs=1)
    assert run.cancel(2) == [2]
    assert run.cancel() == [0, 1]
    assert run.wait(timeout=300).counts == {"cancelled": 3}
    with pytest.raises(hs.HpcsweepError, match="no task"):
        run.task(3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train.yaml",), "no file"),
        (("train.sh",), "no file"),
        (("echo {y}", None, hs.ParamSpace(x=1)), "no such parameter"),
        (("echo ${HOME}", None, hs.ParamSpace(x=1)), r"\$\{\{HOME\}\}"),
        (("echo {x", None, hs.ParamSpace(x=1)), "brace"),
        (("echo {x!r}", None, hs.ParamSpace(x=1)), "cannot be written"),
        (("#!/usr/bin/python\nprint({x})", None, hs.ParamSpace(x=1)), "none for the shell"),
        (("#SBATCH --array=0-3\necho {x}", None, hs.ParamSpace(x=1)), "--array"),
        (("#PBS -l walltime=1:00:00\necho {x}", None, hs.ParamSpace(x=1)), "#PBS -l walltime"),
        (("echo {x}", "job_{z}", hs.ParamSpace(x=1)), "no such parameter"),
        ((hs.Sweep(command="echo", comand="x"),), "comand"),
        ((hs.Sweep(space={"x": 1}),), "command"),
        ((3,), "takes a sweep file"),
    ],
)
def test_what_is_wrong_is_an_error_of_the_package_and_nothing_is_written(notebook, arguments, said):
    with pytest.raises(hs.HpcsweepError, match=said):
        hs.submit(*arguments, use="local")
    assert list(notebook.iterdir()) == []


def test_unknown_scheduler_and_run(notebook):
    with pytest.raises(hs.HpcsweepError):
        hs.submit("echo {x}", space=hs.ParamSpace(x=1), use="nonsense")
    with pytest.raises(hs.HpcsweepError):
        hs.open_run("run-77")
