"""The shell text that looks at a machine: what tasks will find there. It prints ``name=value``, a line each."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

REPORT = "report"
"""The name of the job's report, in its folder."""

# In the folder that is tried. Programs are found as the runner finds them; `ln -T`, `mv -T` are what it needs of coreutils.
LOOK = r"""
export PATH=/usr/bin:/bin:$PATH LD_PRELOAD='' LD_LIBRARY_PATH=''
tell() { printf '%s=%s\n' "$1" "$2"; }
try() { # NAME COMMAND...
    if "${@:2}" >/dev/null 2>&1; then tell "$1" ok; else tell "$1" no; fi
}
hard_link() { : >one.a && ln -T -- one.a one.b && [[ one.a -ef one.b ]]; }
exclusive_link() { : >two.a && ! ln -T -- two.a one.b; }
rename() { : >three.a && : >three.b && mv -fT -- three.a three.b && [[ ! -e three.a ]]; }
keeping_rename() { : >four.a && : >four.b && { mv -nT -- four.a four.b || :; } && [[ -e four.a ]]; }
checksum() { [[ $(sha256sum </dev/null) == e3b0c44298fc1c149afbf4c8996fb924* ]]; }
clock() { [[ $(printf '%(%s)T' -1) =~ ^[0-9]+$ ]]; }

read -r host </proc/sys/kernel/hostname || host=$(uname -n)
tell host "$host"
tell bash "$BASH_VERSION"
version=$(ln --version 2>/dev/null) || version=
tell coreutils "${version%%$'\n'*}"
missing=
for program in ln mv rm mkdir cat date sed awk grep sha256sum timeout; do
    type -P "$program" >/dev/null || missing+="${missing:+ }$program"
done
tell missing "$missing"
try hard_link hard_link
try exclusive_link exclusive_link
try rename rename
try keeping_rename keeping_rename
try sha256sum checksum
try clock clock
"""

_PROGRAMS = r"""
tell() { printf '%s=%s\n' "$1" "$2"; }
tell python3 "$(python3 --version 2>/dev/null)"
if [[ ! -x $python ]]; then
    tell own_python missing
elif "$python" -c 'import hpcsweep.cli'; then
    tell own_python ok
else
    tell own_python broken
fi
tell submits "$(type -P -- "$submits_with")"
"""


def render_checkup(  # noqa: PLR0913 - the parts of one script
    *, folder: str, python: str, submits_with: str, directives: Sequence[str], environment: str, opening: str = ""
) -> str:
    """The script of a small job that looks at its node, and leaves a report in ``folder``; where that has gone it does nothing.

    Args:
        folder: where the report goes.
        python: the interpreter that has hpcsweep.
        submits_with: the program that a job would have to have to submit another.
        directives: the scheduler's lines.
        environment: assignments in bash: what a task starts from.
        opening: what a script has to begin with where the scheduler starts it bare.
    """
    place = shlex.quote(folder)
    parts = [
        "#!/bin/bash",
        *directives,
        "# shellcheck disable=SC2030,SC2031,SC2317 # each part has an environment of its own; `try` calls the functions",
        "{",
        "started_with=$(umask)",
        *([opening] if opening else []),
        f"cd -- {place} || exit 0",
        "{",
        "printf 'umask=%s\\n' \"$started_with\"",
        f"({LOOK})",
        f"(\n{environment.rstrip()}",
        f"python={shlex.quote(python)} submits_with={shlex.quote(submits_with)}{_PROGRAMS})",
        f"}} >{REPORT}.part",
        f"PATH=/usr/bin:/bin:$PATH mv -f -- {REPORT}.part {REPORT}",
        "exit",
        "}",
    ]
    return "\n".join([*parts, ""])


def read_report(text: str) -> Mapping[str, str]:
    """``bash=5.2.15(1)-release`` -> what a machine has, by name; other lines are passed over."""
    pairs = (line.partition("=") for line in text.split("\n"))
    return {name: value for name, separator, value in pairs if separator and name.isidentifier()}
