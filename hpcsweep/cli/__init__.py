"""The commands: one small module each, in one table. Only the module of the command that runs is imported."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from hpcsweep._version import __version__
from hpcsweep.errors import HpcsweepError

COMMANDS: dict[str, str] = {
    "submit": "make a run of a sweep file and hand it to the scheduler",
    "show": "what a sweep file means: tree, counts, first points, one command, one script; writes nothing",
    "status": "how every task of a run stands",
    "logs": "what tasks printed",
    "collect": "one table of all parameters and results",
    "best": "the best tasks or points by the objective",
    "plot": "pictures of the results",
    "usage": "what a run cost, and what to ask for next time",
    "extend": "add the points of a sweep file that a run does not have yet",
    "resubmit": "run again what did not work",
    "cancel": "cancel a run or some of its tasks",
    "hold": "let nothing more of a run start",
    "release": "undo hold; go on after a failed canary or too many failures",
    "throttle": "change how many elements of a run may run at once",
    "advance": "observe, decide and act, once; fit for cron",
    "wait": "wait until a run has ended; exit 0 when all tasks are done",
    "adopt": "let a run that was moved or copied go on where it is now",
    "verify": "whether a run's files are sound, and what can be trusted where they are not",
    "doctor": "what is here to run on: scheduler, queues, file system, programs; what to do where something is missing",
    "list": "the runs there are",
    "du": "how much room the runs take",
    "archive": "pack a run into one file and remove its folder",
    "rm": "remove a run's folder",
    "rehearse": "run a command, or a shell, with a scheduler to rehearse with on this machine",
}
"""Command -> its one line of help. The module is ``hpcsweep.cli.<command>`` (``rm`` and ``list`` with a trailing ``_``)."""

_MODULES = {"list": "list_"}

_RUNS_A_COMMAND = frozenset({"rehearse"})
"""Commands that run another one, which stands behind ``--`` with options of its own."""

_MAY_BEGIN_WITH_A_DASH = frozenset({"--sort", "--where"})
"""Options whose value argparse would take for another option: ``--sort -val_loss``."""


def run_command(argv: Sequence[str]) -> int:
    """Parse ``argv`` and run the command that it names; its exit code.

    Raises:
        SystemExit: by argparse, 0 after --help and --version, 2 for a wrong command line.
    """
    name = next((word for word in argv if not word.startswith("-")), None)
    argv, words = _cut_off_command(argv) if name in _RUNS_A_COMMAND else (argv, None)
    parser, command = _parser(only=name if name in COMMANDS else None)
    if name is not None and name not in COMMANDS:
        parser.error(f"there is no command {name!r}{_nearest([name], COMMANDS)}")
    args, unknown = parser.parse_known_args(_join_dashed(argv))
    if unknown:
        known = [word for action in (command or parser)._actions for word in action.option_strings]  # noqa: SLF001 - no other way
        (command or parser).error(f"unrecognized arguments: {' '.join(unknown)}{_nearest(unknown, known)}")
    if args.command is None:
        parser.print_help()
        return 2
    run = args.run_command
    del args.run_command, args.command
    if words is not None:
        args.words = words
    try:
        Path.cwd()
    except OSError as error:
        raise HpcsweepError(f"the folder you are in cannot be found: {error.strerror}", "cd to another one") from None
    code: int = run(**vars(args))
    return code


def _cut_off_command(argv: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """The words up to the first ``--``, and those behind it."""
    at = list(argv).index("--") if "--" in argv else len(argv)
    return argv[:at], list(argv[at + 1 :])


def _join_dashed(argv: Sequence[str]) -> list[str]:
    """``--sort -val_loss`` -> ``--sort=-val_loss``, which means the same to the user and is understood."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in _MAY_BEGIN_WITH_A_DASH and word[:1] == "-" != word[1:2]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _nearest(words: Iterable[str], known: Iterable[str]) -> str:
    """``; did you mean --watch?`` for the words that have a near one."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for what is misspelt

    known = list(known)
    near = [match for word in words for match in get_close_matches(word.partition("=")[0], known, n=1)]
    return f"; did you mean {' '.join(near)}?" if near else ""


def _parser(only: str | None) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser | None]:
    """The whole command line, and the part of the one command that is about to run, whose options alone are read in (imports cost time)."""
    parser = argparse.ArgumentParser(
        prog="hpcsweep",
        description="Parameter sweeps as scheduler job arrays: one YAML file, no server, nothing lost.",
        epilog="Exit codes: 0 done, 1 something you can mend, 2 wrong usage, 3 a bug, 4 scheduler out of reach, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"hpcsweep {__version__}")
    chosen = None
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        if name == only:
            module = importlib.import_module(f"hpcsweep.cli.{_MODULES.get(name, name)}")
            chosen = commands.add_parser(name, help=summary, description=module.__doc__, allow_abbrev=False)
            module.add_arguments(chosen)
            chosen.set_defaults(run_command=module.run)
        else:
            commands.add_parser(name, help=summary)
    return parser, chosen
