"""Fixtures for all tests: a real Slurm, an ordinary user, a folder with a name that hurts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

# Time is never judged: a busy machine is no fault. In CI the same examples each time, so that a red run is about the change.
settings.register_profile(
    "hpcsweep",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hpcsweep")

# Whoever starts the tests in the background (`nohup`, `&` in a script) may have these ignored, which all children inherit: ^C
# and a terminal that is closed would then reach nobody.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-step", action="store_true", help="kill commands and tasks at each of their steps, not only at some"
    )


def pytest_configure(config: pytest.Config) -> None:
    """The tests of the runner are told by their environment."""
    if config.getoption("every_step"):
        os.environ["HPCSWEEP_TEST_EVERY_POINT"] = "1"


def is_of_the_slurm(nodeid: str) -> bool:
    """Whether a test uses the one real Slurm: ``tests/slurm/...``, or the part of a test for each scheduler."""
    return nodeid.startswith("tests/slurm/") or "[slurm" in nodeid


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The row that takes longest begins at once."""
    items.sort(key=lambda item: not is_of_the_slurm(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Where tests run side by side: each file by itself, and all that need the one Slurm in a row."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - only where it is used

    class InRows(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "slurm" if is_of_the_slurm(nodeid) else super()._split_scope(nodeid)

    return InRows(config, log)


@pytest.fixture
def every_step(pytestconfig: pytest.Config) -> bool:
    """Whether all steps are tried at which something can be killed, or some."""
    return bool(pytestconfig.getoption("every_step"))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """How many points were tried, of those tests that record ``killed``: [where, what, killed or interrupted, how many]."""
    counts: Counter[tuple[str, str]] = Counter()
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for where, what, how, number in [value for name, value in report.user_properties if name == "killed"]:
            counts[f"{how} on {where}", what] += number
    for group in sorted({group for group, _what in counts}):
        parts = {what: number for (other, what), number in counts.items() if other == group}
        words = ", ".join(f"{what} {number}" for what, number in sorted(parts.items()))
        terminalreporter.write_line(f"{group} at {sum(parts.values())} points: {words}")


TEST_USER = "hpcsweep-test"
START = Path(__file__).parent / "slurm" / "start"
HOSTILE_NAME = "a b  c'd\"e\nf\\g%j%%h$(touch pwned)`touch pwned`;&*?[x]#~é✓"


@dataclass(frozen=True)
class SlurmBed:
    """The Slurm of tests/slurm/start. SLURM_CONF is set in the environment."""

    conf: str

    @property
    def folder(self) -> Path:
        return Path(self.conf).parent

    @property
    def has_memory_limits(self) -> bool:
        return (self.folder / "memory-limits").read_text().strip() == "cgroup"

    def daemon_pid(self, name: str) -> int:
        """The process id of a daemon: slurmctld, slurmdbd, slurmd-n1, ..."""
        return int((self.folder / "run" / f"{name}.pid").read_text())

    def restore(self) -> None:
        """Start again what a test has ended, and wait until all is well."""
        subprocess.run([START], check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="session")
def slurm() -> SlurmBed:
    conf = os.environ.get("SLURM_CONF")
    if not conf:
        if os.geteuid() != 0:
            pytest.skip("NO SLURM: SLURM_CONF is not set, and only root can start one (tests/slurm/start)")
        if shutil.which("slurmctld") is None:
            pytest.skip("NO SLURM: it is not installed; tests/run installs it (root on Debian)")
        started = subprocess.run([START], check=False, capture_output=True, text=True, timeout=600)
        if started.returncode != 0:
            pytest.fail(f"tests/slurm/start failed: {started.stderr}")
        conf = started.stdout.strip().removeprefix("export SLURM_CONF=")
        os.environ["SLURM_CONF"] = conf
    subprocess.run(["sinfo", "-h"], check=True, capture_output=True, timeout=60)
    return SlurmBed(conf)


@pytest.fixture
def hostile_dir(tmp_path: Path) -> Path:
    """A folder with spaces, quotes, a newline, a backslash, %, unicode and shell words in its name."""
    folder = tmp_path / HOSTILE_NAME
    folder.mkdir()
    return folder


@pytest.fixture
def as_user() -> Callable[..., list[str]]:
    """argv -> argv that runs as the ordinary user of tests/slurm/start; the test is skipped where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("NO SECOND USER: only root can run a command as somebody else")
    known = subprocess.run(["id", TEST_USER], check=False, capture_output=True)
    if known.returncode != 0:
        pytest.skip(f"NO SECOND USER: there is no {TEST_USER}; tests/slurm/start makes it")
    return lambda argv: ["runuser", "-u", TEST_USER, "--", *argv]


@pytest.fixture
def user_dir(as_user) -> Iterator[Path]:
    """A folder of the ordinary user, which pytest's own (root's, closed) cannot be."""
    with tempfile.TemporaryDirectory(prefix="hpcsweep-user-", dir="/tmp") as name:
        shutil.chown(name, TEST_USER, TEST_USER)
        yield Path(name)


@pytest.fixture
def await_that() -> Callable[..., None]:
    """``await_that(condition, what, within_s=60)``: wait until ``condition()`` holds, fail with ``what`` when it never does."""

    def wait(condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {within_s:.0f} s in vain until {what}")
            time.sleep(0.1)

    return wait
