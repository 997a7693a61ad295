# shellcheck shell=bash disable=SC2154 # the header of the script, and runner.sh, assign what is not assigned here
# `stage:`: what the program reads is copied to a folder on this node's own disk, and what it wrote there is copied back.
# Only functions. All of it happens in the task's child, so that a signal or a KILL ends the copying with the rest.
#
# hpcsweep_stage_in, hpcsweep_stage_out: the patterns of this position; in a pattern, values are in brackets: [*].

hpcsweep_is_staged() {
  [[ -n ${hpcsweep_stage_in+set}${hpcsweep_stage_out+set} ]]
}

hpcsweep_stage_files_in() { # after setup, which may set TMPDIR; what fails is told
  local base=${TMPDIR:-/tmp} name status
  [[ -d $base ]] || base=/tmp
  if ! hpcsweep_stage_dir=$(hpcsweep_tool mktemp -d -- "$base/hpcsweep-$hpcsweep_name.XXXXXX"); then
    hpcsweep_tell broken 4
    exit 1
  fi
  export HPCSWEEP_STAGE_DIR=$hpcsweep_stage_dir
  for name in TERM INT HUP USR1 USR2; do
    # shellcheck disable=SC2064 # the name of now
    trap "hpcsweep_leave_stage $name" "$name"
  done
  (hpcsweep_copy_inputs)
  status=$?
  if ((status)); then
    hpcsweep_remove_stage
    hpcsweep_tell broken "$status"
    exit 1
  fi
  trap - TERM INT HUP USR1 USR2
}

hpcsweep_leave_stage() { # a signal that came while files were copied
  hpcsweep_remove_stage
  trap - "$1"
  kill -s "$1" "$BASHPID"
}

hpcsweep_remove_stage() { # a folder that was copied may be read-only
  hpcsweep_tool rm -rf -- "$hpcsweep_stage_dir" 2>/dev/null && return
  hpcsweep_tool chmod -R u+w -- "$hpcsweep_stage_dir" 2>/dev/null
  hpcsweep_tool rm -rf -- "$hpcsweep_stage_dir"
}

hpcsweep_copy_inputs() { # in a shell of its own, which ends with the code of `broken`
  local pattern path matches=()
  trap - TERM INT HUP USR1 USR2
  hpcsweep_set_globs
  # What an earlier attempt brought back is there again: a program finds its checkpoint where it has written it.
  if ((hpcsweep_attempt > 1 || hpcsweep_restart > 0)) && builtin cd -- "$hpcsweep_task_dir"; then
    for pattern in "${hpcsweep_stage_out[@]}"; do
      hpcsweep_match "$pattern" && hpcsweep_without_ours
      hpcsweep_copy "$hpcsweep_stage_dir" --parents "${matches[@]}" || exit
    done
  fi
  builtin cd -- "$hpcsweep_submit_dir" || exit 4
  for pattern in "${hpcsweep_stage_in[@]}"; do
    if ! hpcsweep_match "$pattern"; then
      printf 'hpcsweep: stage.in: nothing matches %s in %s\n' "$pattern" "$PWD" >&2
      exit 4
    fi
    if [[ $pattern != /* && /$pattern/ != */../* ]]; then
      hpcsweep_copy "$hpcsweep_stage_dir" --parents "${matches[@]}" || exit
      continue
    fi
    for path in "${matches[@]}"; do # no way that leads out of the folder: the last name is all there is of it
      path=${path%"${path##*[!/]}"}
      if [[ -e $hpcsweep_stage_dir/${path##*/} ]]; then
        printf 'hpcsweep: stage.in: %s would be a second %s in the folder\n' "$path" "${path##*/}" >&2
        exit 4
      fi
    done
    hpcsweep_copy "$hpcsweep_stage_dir" '' "${matches[@]}" || exit
  done
}

hpcsweep_set_globs() {
  IFS=''
  shopt -s nullglob
  shopt -u failglob nocaseglob dotglob extglob
  set +f
}

hpcsweep_match() { # PATTERN -> matches; success when there are some
  # shellcheck disable=SC2206 # a pattern, and IFS is empty
  matches=($1)
  # Without a wildcard it stands for itself, whether it is there or not.
  ((${#matches[@]})) && [[ -e ${matches[0]} || -L ${matches[0]} ]] || matches=()
  ((${#matches[@]}))
}

hpcsweep_without_ours() { # of matches, those that hpcsweep itself does not write
  local path kept=()
  for path in "${matches[@]}"; do
    [[ $path == params.json || $path == attempt-*.log ]] || kept+=("$path")
  done
  matches=("${kept[@]}")
}

hpcsweep_copy() { # TO --parents|'' FILE...: links become what they lead to; 4, or 6 where there is no room
  local to=$1 options=(-rL --preserve=timestamps -t "$1") said status=0
  [[ -z $2 ]] || options+=("$2")
  shift 2
  while (($#)); do # one command line holds only so much
    said=$(LC_ALL=C hpcsweep_tool cp "${options[@]}" -- "${@:1:200}" 2>&1) || status=4
    [[ -z $said ]] || printf 'hpcsweep: stage: %s\n' "$said" >&2
    if ((status)); then
      [[ $said != *'No space left'* && $said != *'quota exceeded'* ]] || status=6
      ((status != 6)) || printf 'hpcsweep: stage: there is no room in %s on %s\n' "$to" "$hpcsweep_host" >&2
      return "$status"
    fi
    shift $(($# < 200 ? $# : 200))
  done
}

hpcsweep_stage_files_out() { # when the program has ended, however
  local status
  # What ends the program must not end the copying, but for the KILL that nobody can hold up.
  trap '' TERM INT HUP USR1 USR2
  (hpcsweep_copy_outputs)
  status=$?
  if ((status)); then
    printf 'hpcsweep: stage.out: not all could be copied to %s; all of it is left in %s on %s\n' \
      "$hpcsweep_task_dir" "$hpcsweep_stage_dir" "$hpcsweep_host" >&2
  else
    hpcsweep_remove_stage
  fi
  hpcsweep_tell staged "$status"
  trap : TERM INT HUP USR1 USR2
}

hpcsweep_copy_outputs() { # in a shell of its own
  local pattern matches=() files=() partial=$hpcsweep_task_dir/.hpcsweep-stage.$hpcsweep_attempt.$hpcsweep_restart
  hpcsweep_set_globs
  builtin cd -- "$hpcsweep_stage_dir" || exit 5
  for pattern in "${hpcsweep_stage_out[@]}"; do
    if hpcsweep_match "$pattern"; then
      hpcsweep_without_ours
      files+=("${matches[@]}")
    else
      printf 'hpcsweep: stage.out: nothing matches %s\n' "$pattern"
    fi
  done
  ((${#files[@]})) || exit 0
  # Beside first, and then renamed: whatever ends us, there is no half of a file.
  hpcsweep_tool rm -rf -- "$hpcsweep_task_dir"/.hpcsweep-stage.*
  hpcsweep_tool mkdir -- "$partial" || exit 5
  if ! hpcsweep_copy "$partial" --parents "${files[@]}"; then
    hpcsweep_tool rm -rf -- "$partial"
    exit 5
  fi
  if hpcsweep_is_token_gone; then # somebody else may run this task by now
    hpcsweep_tool rm -rf -- "$partial"
    exit 5
  fi
  shopt -s dotglob
  hpcsweep_move_into "$partial" "$hpcsweep_task_dir" || exit 5
  hpcsweep_tool rm -rf -- "$partial"
}

hpcsweep_move_into() { # FROM TO: a file takes the place of its earlier self, folders are joined
  local path moved=()
  for path in "$1"/*; do
    if [[ -d $path && -d $2/${path##*/} ]]; then
      hpcsweep_move_into "$path" "$2/${path##*/}" || return
    else
      moved+=("$path")
    fi
  done
  while ((${#moved[@]})); do
    hpcsweep_tool mv -f -t "$2" -- "${moved[@]:0:200}" || return
    moved=("${moved[@]:200}")
  done
}

hpcsweep_weigh_stage() { # PROGRAM's status, STAGED, IS_STARTED: what was not brought back makes a failure of a success -> broken
  if hpcsweep_is_staged && (($3)) && [[ $2 != 0 && ($hpcsweep_verdict$1 == 0 || $hpcsweep_verdict == saved) ]]; then
    # shellcheck disable=SC2034 # hpcsweep_conclude's own variable
    hpcsweep_verdict='' broken=5
  fi
}
