"""Full disks and ordinary users."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

ORDINARY_UID = 65534


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path) -> Path:
    """Use up all room that is left; remove the returned file to have it again."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            return path


def as_ordinary_user(action: Callable[[], object]) -> object:
    """What ``action`` returns or raises when somebody without special rights does it."""
    if os.geteuid() != 0:
        return _outcome(action)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(ORDINARY_UID)
            os.setuid(ORDINARY_UID)
            os.write(writing, pickle.dumps(_outcome(action)))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: PTH123 - a descriptor
        data = file.read()
    os.waitpid(child, 0)
    return pickle.loads(data)  # noqa: S301 - our own child


def _outcome(action: Callable[[], object]) -> object:
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - the test looks at whatever it is
        return f"{type(error).__name__}: {error}"
