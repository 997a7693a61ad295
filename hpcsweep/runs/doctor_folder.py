"""The folder of the runs, and the programs that the runner needs: on this machine, and as a report of another one tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpcsweep.render.checkup import LOOK, read_report
from hpcsweep.runs.checkup import Finding, ok, problem, warning
from hpcsweep.schedulers.base import Command
from hpcsweep.shell import run_command
from hpcsweep.store import FolderFacts, private_folder, probe_folder

OLDEST_BASH = (4, 2)
CLOCK_S = 5.0
FREE_BYTES = 10**9
FREE_FILES = 10_000
_LOOK_S = 30.0

_OF_ONE_MACHINE = frozenset(
    {*("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "vfat", "overlay"), *("tmpfs", "ramfs")}
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_OTHER = "choose another file system for the runs: --runs-dir, or `runs_dir:` in your configuration"
_TASKS_RUN_TWICE = f"tasks might run twice, or not at all; {_OTHER}"
_CURES = {
    "flock": "a command that was killed may keep others of that run waiting for ten minutes; else runs work",
    "fsync": _OTHER,
    "listing": _OTHER,
}


def examine_folder(runs_dir: Path, *, is_local: bool) -> Iterator[Finding]:
    """What its file system does, and what bash and coreutils do there."""
    with private_folder(runs_dir) as folder:
        facts = probe_folder(folder)
        look = Command(argv=("/bin/bash", "-c", LOOK), cwd=str(folder), timeout_s=_LOOK_S)
        report = read_report(run_command(look).stdout)
    yield from _folder_findings(runs_dir, facts, is_local=is_local)
    if folder.exists():
        yield warning("folder", f"{folder} could not be removed", "remove it")
    yield from machine_findings("programs", report)


def _folder_findings(runs_dir: Path, facts: FolderFacts, *, is_local: bool) -> Iterator[Finding]:
    where = f"{runs_dir} ({facts.kind or 'an unknown file system'}, mounted at {facts.mount or '?'})"
    if not is_local and facts.kind in _OF_ONE_MACHINE:
        what = "in this machine's memory" if facts.kind in _IN_MEMORY else "on a file system of one machine"
        advice = "compute nodes see it only where this machine exports it: `--compute-node` tries that; else set runs_dir"
        yield warning("folder", f"{where} is {what}", advice)
    else:
        yield ok("folder", where)
    broken = {name: fault for name, fault in facts.faults.items() if fault}
    for name, fault in broken.items():
        level = warning if name == "flock" else problem
        yield level(name, f"it does not work in {runs_dir}: {fault}", _CURES.get(name, _TASKS_RUN_TWICE))
    if sound := [name for name in facts.faults if name not in broken]:
        yield ok("file system", f"{', '.join(sound)}: as they should be")
    if abs(facts.clock_ahead_s) > CLOCK_S:
        words = f"the file server's clock is {abs(facts.clock_ahead_s):.0f} s {'ahead of' if facts.clock_ahead_s > 0 else 'behind'} ours"
        yield warning("clock", words, "times that are shown are off by that; tell the site that its clocks (ntp) differ")
    yield from _room_findings(facts)


def _room_findings(facts: FolderFacts) -> Iterator[Finding]:
    room = f"{facts.free_bytes / 1e9:.1f} GB free"
    files = "" if facts.free_files is None else f", {facts.free_files} more files"
    is_full = facts.free_bytes < FREE_BYTES or (facts.free_files is not None and facts.free_files < FREE_FILES)
    if is_full:
        yield warning(
            "room", room + files, "a task that has ended keeps four files: make room (`hpcsweep du`, `archive`, `rm`)"
        )
    else:
        yield ok("room", f"{room}{files}; a quota of yours may be less")


def machine_findings(subject: str, report: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a machine has what the runner needs, by its report."""
    if "bash" not in report:
        yield problem(subject, "there is no bash that could be asked (/bin/bash)", "job scripts are bash scripts: install it")
        return
    faults = []
    if _version(report["bash"]) < OLDEST_BASH:
        faults.append(f"bash {report['bash']} is older than {'.'.join(map(str, OLDEST_BASH))}")
    if report.get("missing"):
        faults.append(f"missing: {report['missing']}")
    needs = (
        ("hard_link", "`ln -T`"),
        ("exclusive_link", "`ln -T` to a name that is taken"),
        ("rename", "`mv -T`"),
        ("keeping_rename", "`mv -n`"),
        ("sha256sum", "sha256sum"),
        ("clock", "printf %(%s)T"),
    )
    faults += [f"{words} does not do what it should" for name, words in needs if report.get(name) != "ok"]
    where = f"{report.get('host', '?')}: bash {report['bash']}, {report.get('coreutils') or 'no GNU coreutils'}"
    if faults:
        yield problem(subject, f"{where}; {'; '.join(faults)}", "the runner needs bash 4.2 and GNU coreutils, sed, awk, grep")
    else:
        yield ok(subject, where)


def _version(text: str) -> tuple[int, ...]:
    """``5.2.15(1)-release`` -> (5, 2)."""
    return tuple(int(part) for part in re.findall(r"[0-9]{1,6}", text)[:2])
