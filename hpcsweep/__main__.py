"""``hpcsweep`` and ``python -m hpcsweep``: parse, call one command, turn errors into words and exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from hpcsweep.errors import HpcsweepError

BUG = 3
INTERRUPTED = 130
NOT_OUR_FAULT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE}
"""What a file system says that has room, rights or a server missing: the user's to mend, where nobody nearer has told of it."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code (see errors.py)."""
    try:
        _open_streams()
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except HpcsweepError as error:
        _say(error.message)
        if error.hint:
            _say(f"hint: {error.hint}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # the reader (head, less) has gone: nobody to tell
        return 0
    except OSError as error:
        if error.errno not in NOT_OUR_FAULT:
            return _tell_bug(error)
        _say(f"{error.filename or 'standard output'}: {error.strerror}")
        _drop_output()
        return HpcsweepError.exit_code
    except Exception as error:  # noqa: BLE001 - the outermost layer: a bug must not be a wall of text
        return _tell_bug(error)
    return code


def _run(argv: list[str]) -> int:
    from hpcsweep.cli import run_command  # noqa: PLC0415 - so that ^C during imports is caught too

    try:
        return run_command(argv)
    except SystemExit as ended:  # argparse, after --help or a wrong command line
        return ended.code if isinstance(ended.code, int) else 0


def _open_streams() -> None:
    """Somebody may have closed them, and no locale may be in the way: what goes into files and pipes is UTF-8, whatever is in it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
        elif isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def _drop_output() -> None:
    """Python flushes what is left at exit, and would complain once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hpcsweep: {text}\n")


def _tell_bug(error: Exception) -> int:
    _say(f"this is a bug in hpcsweep: {type(error).__name__}: {error}")
    _say(f"hint: please report it with {_keep_traceback()}")
    return BUG


def _keep_traceback() -> str:
    """Write the traceback to a file; its path."""
    import tempfile  # noqa: PLC0415 - only when a bug was met
    import traceback  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", prefix="hpcsweep-bug-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(f"argv: {sys.argv}\npython: {sys.version}\n\n{traceback.format_exc()}")
    return file.name


if __name__ == "__main__":
    sys.exit(main())
