"""The script of a feeder: a small job that advances its run where nobody is there to do it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_BODY = r"""
if ! "$python" -c 'import hpcsweep.cli'; then
    echo "hpcsweep: this feeder cannot run hpcsweep with $python on $(uname -n)." >&2
    echo "Nothing is lost: go on with \`hpcsweep advance $run\`, by hand or from cron, or with \`hpcsweep wait $run\`." >&2
    exit 1
fi
status=4
for pause_s in 30 60 120 0; do
    "$python" -m hpcsweep advance --feed --wait-lock 5m "$run"
    status=$?
    # 4: the scheduler is out of reach.
    if [ "$status" -ne 4 ] || [ "$pause_s" -eq 0 ]; then break; fi
    sleep "$pause_s"
done
exit "$status"
"""


def render_feeder(  # noqa: PLR0913 - the parts of one script
    *, tag: str, run_dir: str, python: str, directives: Sequence[str], environment: str, opening: str = ""
) -> str:
    """The whole script.

    Args:
        tag: the job's name.
        run_dir: the run that it advances.
        python: the interpreter that has hpcsweep.
        directives: the scheduler's lines.
        environment: assignments in bash, of the environment in which ``python`` finds hpcsweep.
        opening: what a script has to begin with where the scheduler starts it bare.
    """
    settings = [f"{name}={shlex.quote(value)}" for name, value in (("python", python), ("run", run_dir))]
    head = [
        "#!/bin/bash",
        *directives,
        "{",
        *filter(None, (opening, environment.rstrip("\n"))),
        f"export HPCSWEEP_FEEDER={shlex.quote(tag)}",
    ]
    return "\n".join([*head, *settings]) + _BODY + "}\n"
