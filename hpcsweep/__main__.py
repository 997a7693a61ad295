"""``hpcsweep`` and ``python -m hpcsweep``: parse, call one command, turn errors into words and exit codes."""

from __future__ import annotations

import os
import sys

from hpcsweep.errors import HpcsweepError

BUG = 3
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code (see errors.py)."""
    try:
        from hpcsweep.cli import run_command  # noqa: PLC0415 - so that ^C during imports is caught too

        code = run_command(sys.argv[1:] if argv is None else argv)
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
        # The reader (head, less) has gone: nobody to tell. Python would complain at exit when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the outermost layer: a bug must not be a wall of text
        _say(f"this is a bug in hpcsweep: {type(error).__name__}: {error}")
        _say(f"hint: please report it with {_keep_traceback()}")
        return BUG
    return code


def _say(text: str) -> None:
    sys.stderr.write(f"hpcsweep: {text}\n")


def _keep_traceback() -> str:
    """Write the traceback to a file; its path."""
    import tempfile  # noqa: PLC0415 - only when a bug was met
    import traceback  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", prefix="hpcsweep-bug-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(f"argv: {sys.argv}\npython: {sys.version}\n\n{traceback.format_exc()}")
    return file.name


if __name__ == "__main__":
    sys.exit(main())
