"""The command in a container: which runtime, what is bound, and how its argv is made, on the node that runs it."""

from __future__ import annotations

import re

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Container
from hpcsweep.render.quote import quote, quote_always

_FUNCTION = r"""
hpcsweep_contain() { # VARIABLE... -- WORD...: the command in the container, as hpcsweep_argv
  local image=@IMAGE@ runtime=@RUNTIME@ bind name variables=()
  local binds=("$hpcsweep_run_dir" "$hpcsweep_program_dir" "${TMPDIR:-/tmp}" @BINDS@)
  while [[ $1 != -- ]]; do
    variables+=("$1")
    shift
  done
  shift
  for name in ${runtime:-apptainer singularity docker}; do
    runtime=''
    if command -v "$name" >/dev/null; then
      runtime=$name
      break
    fi
  done
  if [[ -z $runtime ]]; then
    printf 'hpcsweep: the container needs %s, and it is not on %s; does setup have to load a module?\n' @WANTED@ "$HOSTNAME" >&2
    exit 127
  fi
  if [[ $runtime == docker ]]; then
    hpcsweep_argv=(docker run --rm --init --interactive --user "$(id -u):$(id -g)" --workdir "$hpcsweep_program_dir" @DOCKER_GPUS@)
    for bind in "${binds[@]}"; do
      [[ $bind == *:* ]] || bind=$bind:$bind
      hpcsweep_argv+=(--volume "$bind")
    done
    for name in "${variables[@]}" "${!HPCSWEEP_@}" "${!SLURM_@}" PYTHONUNBUFFERED TMPDIR \
      CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES; do
      hpcsweep_argv+=(--env "$name")
    done
  else
    [[ $image == /* || $image == *://* ]] || image=@CWD@/$image
    hpcsweep_argv=("$runtime" exec --pwd "$hpcsweep_program_dir" @NV@)
    for bind in "${binds[@]}"; do
      hpcsweep_argv+=(--bind "${bind//,/\\,}")
    done
  fi
  hpcsweep_argv+=("$image" "$@")
}
"""


def container_function(container: Container, run_dir: str, cwd: str) -> str:
    """The bash function ``hpcsweep_contain``; apptainer is preferred when the sweep names no runtime.

    An image without ``://`` is a file relative to ``cwd`` (for docker: the image's name). A relative source of a bind too.

    Raises:
        HpcsweepError: the paths have a character that separates binds.
    """
    for path in (run_dir, cwd):
        if re.search("[:,]", path):
            raise HpcsweepError(
                f"the path {path!r} cannot be bound into a container", "use a folder without `:` and `,` in its name"
            )
    runtime = container.runtime or ""
    binds = " ".join(quote(_absolute_bind(bind, cwd)) for bind in container.bind)
    words = {
        "@IMAGE@": quote_always(container.image),
        "@RUNTIME@": quote_always(runtime),
        "@WANTED@": quote_always(runtime or "apptainer, singularity or docker"),
        "@BINDS@": binds,
        "@CWD@": quote_always(cwd),
        "@NV@": "--nv" if container.nv else "",
        "@DOCKER_GPUS@": "--gpus all" if container.nv else "",
    }
    text = _FUNCTION.strip("\n")
    for mark, word in words.items():
        text = text.replace(f" {mark})", f" {word})" if word else ")").replace(mark, word)
    return text


def _absolute_bind(bind: str, cwd: str) -> str:
    source, colon, rest = bind.partition(":")
    if source.startswith("/"):
        return bind
    # A relative source is bound under its own absolute path, unless the sweep says where.
    return f"{cwd}/{source}{colon}{rest}"


def contained(command: str | tuple[str, ...], variables: list[str]) -> str:
    """The call of ``hpcsweep_contain`` for a rendered command."""
    words = ("bash", "-eo", "pipefail", "-c", command) if isinstance(command, str) else command
    return " ".join(["hpcsweep_contain", *variables, "--", *(quote_always(word) for word in words)])
