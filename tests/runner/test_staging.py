"""`stage:`: what is copied to the node's own disk, and back."""

from __future__ import annotations

import os
import signal
import time

import pytest
from small_runs import await_that, block, quote


def staged(position: int, command: str, *, task: int | None = None, attempt: int = 1, **patterns: list[str]) -> str:
    """A block with the patterns ``into`` and ``out``."""
    lines = [
        f"hpcsweep_stage_{name}=({' '.join(map(quote, patterns[key]))})"
        for name, key in (("in", "into"), ("out", "out"))
        if key in patterns
    ]
    return block(position, command, task=task, attempt=attempt).replace("return 0\n", "\n".join([*lines, "return 0\n"]))


@pytest.fixture
def place(run):
    """The folder where submit was called, with some data, and the environment of the node."""
    here = run.path.parent
    (here / "data" / "it's *").mkdir(parents=True)
    (here / "data" / "train.npz").write_text("train")
    (here / "data" / "it's *" / "x").write_text("hostile")
    (here / "link.txt").symlink_to("data/train.npz")
    (here / "elsewhere.bin").write_text("else")
    (here / "node's disk").mkdir()
    run.here, run.disk = here, here / "node's disk"
    run.header = {"submit_dir": str(here)}
    run.node = {"TMPDIR": str(run.disk)}
    return run


def test_there_and_back(place):
    place.add_array(
        [
            staged(
                0,
                'cd "$HPCSWEEP_STAGE_DIR"; find . -type f | sort; cat link.txt data/it*/x; mkdir -p out/deep\n'
                "echo 1 >best.ckpt; echo 2 >out/deep/a; echo 3 >notes; ln -s best.ckpt last.ckpt",
                into=["data/*", "link.txt", str(place.here / "elsewhere.bin"), f"../{place.here.name}/data/train.npz"],
                out=["*.ckpt", "out/"],
            )
        ],
        **place.header,
    )
    assert place.run(**place.node) == 0
    assert place.log() == "./data/it's */x\n./data/train.npz\n./elsewhere.bin\n./link.txt\n./train.npz\ntrainhostile"
    found = {str(path.relative_to(place.folder())) for path in place.folder().rglob("*") if path.is_file()}
    assert found == {"params.json", "attempt-1.log", "best.ckpt", "last.ckpt", "out/deep/a"}
    assert (place.folder() / "last.ckpt").read_text() == "1\n"
    assert list(place.disk.iterdir()) == []
    assert place.outcomes() == ["0.1.done.0"]
    assert place.complaints() == ""


def test_what_a_failed_program_wrote_is_brought_back_too_and_is_there_again_in_the_next_attempt(place):
    program = 'cd "$HPCSWEEP_STAGE_DIR"; cat a.ckpt out/b 2>/dev/null || true; mkdir -p out; echo $HPCSWEEP_ATTEMPT >>a.ckpt; echo b >out/b'
    for attempt, array in ((1, "001"), (2, "002")):
        place.add_array(
            [staged(0, f"{program}; exit {2 - attempt}", attempt=attempt, out=["*.ckpt", "out"])], array, **place.header
        )
        assert place.run(array=array, **place.node) == 2 - attempt
    assert place.log(0, 2) == "1\nb\n"
    assert (place.folder() / "a.ckpt").read_text() == "1\n2\n"
    assert list(place.disk.iterdir()) == []


def test_what_is_not_there_is_a_failure_that_says_so(place):
    place.add_array([staged(0, "echo never", into=["data/none-*"])], **place.header)
    assert place.run(**place.node) == 1
    assert place.outcomes() == ["0.1.broken.4"]
    assert "stage.in: nothing matches data/none-*" in place.log()
    assert "never" not in place.log()
    assert list(place.disk.iterdir()) == []


def test_two_of_one_name_are_a_failure(place):
    place.add_array(
        [staged(0, "echo never", into=["link.txt", "../../none/../link.txt", str(place.here / "link.txt")])], **place.header
    )
    place.run(**place.node)
    assert place.outcomes() == ["0.1.broken.4"]


def tools_that_fail(place, name: str, when: str, said: str) -> str:
    """A setup after which a tool says no where ``when`` is among its words."""
    tool = place.here / f"{name}.sh"
    tool.write_text(
        f'hpcsweep_tool() {{\n  if [[ $1 == {name} && "$*" == *{quote(when)}* ]]; then echo {quote(said)} >&2; return 1; fi\n'
        '  PATH=/usr/bin:/bin:$PATH command "$@"\n}\n'
    )
    return f". {quote(str(tool))}"


def test_no_room_on_the_node(place):
    setup = tools_that_fail(place, "cp", "train", "cp: error writing 'x': No space left on device")
    place.add_array([staged(0, "echo never", into=["data/train.npz"])], setup=setup, **place.header)
    assert place.run(**place.node) == 1
    assert place.outcomes() == ["0.1.broken.6"]
    assert "there is no room in" in place.log()


def test_a_success_whose_output_is_not_brought_back_is_none_and_nothing_is_removed(place):
    setup = tools_that_fail(place, "cp", "a.ckpt", "cp: error writing 'x': No space left on device")
    program = 'echo 1 >"$HPCSWEEP_STAGE_DIR/a.ckpt"'
    place.add_array(
        [staged(0, program, out=["*.ckpt"]), staged(1, f"{program}; exit 3", out=["*.ckpt"])], setup=setup, **place.header
    )
    assert (place.run(0, **place.node), place.run(1, **place.node)) == (1, 3)
    assert place.outcomes() == ["0.1.broken.5", "1.1.done.3"]
    for task in (0, 1):
        assert "all of it is left in" in place.log(task)
        assert not list(place.folder(task).glob("*.ckpt"))
        assert not list(place.folder(task).glob(".hpcsweep*"))
    assert len([*place.disk.glob("*/a.ckpt")]) == 2


def test_files_of_hpcsweeps_own_are_not_replaced(place):
    program = 'cd "$HPCSWEEP_STAGE_DIR"; echo x | tee params.json attempt-1.log mine.log'
    place.add_array([staged(0, program, out=["*.json", "*.log"])], **place.header)
    assert place.run(**place.node) == 0
    assert (place.folder() / "params.json").read_text() == '{"lr":0.1}\n'
    assert place.log() == "x\n"
    assert (place.folder() / "mine.log").read_text() == "x\n"


def test_at_the_end_of_its_time_it_is_brought_back_too(place):
    program = 'echo 1 >"$HPCSWEEP_STAGE_DIR/a.ckpt"; echo ready; sleep 60'
    place.add_array([staged(0, program, out=["*.ckpt"])], time_limit_s=2, enforce_time_limit=1, **place.header)
    place.run(**place.node)
    assert place.outcomes() == ["0.1.timeout.0"]
    assert (place.folder() / "a.ckpt").read_text() == "1\n"
    assert list(place.disk.iterdir()) == []


def test_what_ends_the_program_does_not_end_the_copying(place):
    """Told, saved, and still copying when the TERM of the limit comes."""
    fifo = place.here / "gate"
    os.mkfifo(fifo)
    tool = place.here / "slow.sh"
    tool.write_text(
        f"hpcsweep_tool() {{\n  if [[ $1 == cp ]]; then : >{quote(str(place.here / 'copying'))}; command cat {quote(str(fifo))}; fi\n"
        '  PATH=/usr/bin:/bin:$PATH command "$@"\n}\n'
    )
    place.add_array(
        [staged(0, 'echo 1 >"$HPCSWEEP_STAGE_DIR/a.ckpt"; echo 2 >b; exit 0', out=["*.ckpt"])],
        setup=f". {quote(str(tool))}",
        **place.header,
    )
    process = place.start(**place.node)
    await_that((place.here / "copying").exists, "it copies")
    ended = (place.here / "copying").stat().st_mtime
    await_that(lambda: time.time() > int(ended) + 1.1, "the TERM comes in another second than the program's end")
    os.kill(process.pid, signal.SIGTERM)
    fifo.write_text("")
    assert process.wait(30) == 0
    assert place.outcomes() == ["0.1.done.0"]
    assert (place.folder() / "a.ckpt").read_text() == "1\n"


def test_an_interrupted_copying_leaves_nothing_on_the_node(place):
    fifo = place.here / "data" / "gate"
    os.mkfifo(fifo)
    tool = place.here / "slow.sh"
    tool.write_text(
        f"hpcsweep_tool() {{\n  if [[ $1 == cp ]]; then : >{quote(str(place.here / 'copying'))}; command cat {quote(str(fifo))}; fi\n"
        '  PATH=/usr/bin:/bin:$PATH command "$@"\n}\n'
    )
    place.add_array([staged(0, "echo never", into=["data/train.npz"])], setup=f". {quote(str(tool))}", **place.header)
    process = place.start(**place.node)
    await_that((place.here / "copying").exists, "it copies")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    assert list(place.disk.iterdir()) == []
    assert place.events() == ["0.1", "0.1.r0.run"]


def test_a_task_without_stage_has_no_folder_on_the_node(place):
    place.add_array([block(0, 'echo "${HPCSWEEP_STAGE_DIR-none}"'), staged(1, "true", out=["x"])], **place.header)
    assert (place.run(0, **place.node), place.run(1, **place.node)) == (0, 0)
    assert place.log() == "none\n"
    assert "nothing matches x" in place.log(1)
