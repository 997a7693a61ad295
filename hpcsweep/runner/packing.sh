# shellcheck shell=bash disable=SC2154,SC2034 # the header of the script, and runner.sh, assign and use what is not assigned and used here
# An element that several tasks share. Only functions.
#
# Three kinds of shells, each with its own process group (never a session: a `setsid` child outlives its PBS job):
#   the element's own   waits, and passes signals on
#   the keeper          runs `setup`, whose environment all below it inherit; gives out the places; runs `teardown`
#   supervisors         one for each task that runs, exactly as for a task that is alone (runner.sh)
# A supervisor says in a pipe that its place is free again. One that was killed says nothing, so the keeper looks, too.

hpcsweep_run_pack() {
  local timer='' is_set_up=0
  hpcsweep_element_pid=$hpcsweep_self hpcsweep_setup_status='' hpcsweep_setup_text=''
  exec {hpcsweep_news}<> <(:)
  hpcsweep_make_tmp
  if [[ ${hpcsweep_enforce_time_limit-0} == 1 && -n $hpcsweep_ends_at ]]; then
    exec {timer}<> >(hpcsweep_time_pack)
  fi
  hpcsweep_await_keeper
  # A setup that ended the shell that ran it (by `exit`, or by a kill) is told by another. Unless it was ended from outside.
  if ((!is_set_up)) && [[ $hpcsweep_verdict != interrupted ]] && declare -F hpcsweep_setup >/dev/null; then
    hpcsweep_setup_status=$((hpcsweep_status ? hpcsweep_status : 1))
    { IFS= read -r -d '' hpcsweep_setup_text <"$hpcsweep_tmp/setup.log"; } 2>/dev/null
    hpcsweep_await_keeper
  fi
  [[ -z $timer ]] || exec {timer}>&-
  [[ -z $hpcsweep_verdict ]] || hpcsweep_status=143
  [[ $hpcsweep_tmp == "${TMPDIR:-/tmp}" ]] || hpcsweep_tool rm -rf -- "$hpcsweep_tmp"
}

hpcsweep_make_tmp() { # a folder that holds each place's TMPDIR
  hpcsweep_tmp=$(hpcsweep_tool mktemp -d -- "${TMPDIR:-/tmp}/hpcsweep.XXXXXXXX" 2>/dev/null)
  [[ -z $hpcsweep_tmp ]] || return 0
  hpcsweep_tmp=${TMPDIR:-/tmp}
  hpcsweep_say "no folder could be made in $hpcsweep_tmp: the tasks share it"
}

hpcsweep_time_pack() { # tells the element's own shell of its end, and again when it must: a setup may hang
  local now line
  trap '' TERM INT HUP USR1 USR2 ALRM
  hpcsweep_leave_places
  while :; do
    hpcsweep_now now
    read -r -t $((hpcsweep_ends_at > now ? hpcsweep_ends_at - now : 1)) line
    (($? > 128)) || exit
    kill -ALRM "$hpcsweep_element_pid" 2>/dev/null || exit
  done
}

hpcsweep_end_pack() { # its time is up: of those that run each has a clock of its own
  local now
  hpcsweep_now now
  if [[ $hpcsweep_verdict != timeout ]]; then
    ((now >= hpcsweep_ends_at)) || return 0
    hpcsweep_verdict=timeout
    hpcsweep_pass_to_keeper TERM
  elif ((now >= hpcsweep_ends_at + ${hpcsweep_kill_wait_s:-30} + 2)); then
    hpcsweep_pass_to_keeper KILL
  fi
}

hpcsweep_await_keeper() { # what it says is read: a `wait` may be for ever, for where signal and end fall together bash can lose the end
  local word value
  set -m
  hpcsweep_keep_pack </dev/null &
  hpcsweep_keeper=$!
  set +m
  hpcsweep_phase=packing hpcsweep_status=1
  [[ $hpcsweep_verdict != interrupted ]] || hpcsweep_pass_to_keeper TERM # it came before there was a keeper
  exec {hpcsweep_stderr}>&2 2>/dev/null # bash would tell of a child that was killed
  while :; do
    if read -r -t 1 word value <&"$hpcsweep_news"; then
      [[ $word != over ]] || is_set_up=1
      [[ $word != left ]] || break
    elif ! kill -0 "$hpcsweep_keeper" 2>/dev/null; then # killed, or a setup has left with a trap of its own
      [[ " $(jobs -rp | tr '\n' ' ')" == *" $hpcsweep_keeper "* ]] || wait "$hpcsweep_keeper"
      value=$?
      break
    fi
  done
  hpcsweep_status=$value
  exec 2>&"$hpcsweep_stderr" {hpcsweep_stderr}>&-
}

hpcsweep_pass_to_keeper() {
  kill -s "$1" -- "-$hpcsweep_keeper" 2>/dev/null
  [[ $1 != TERM ]] || kill -CONT -- "-$hpcsweep_keeper" 2>/dev/null
}

# ---- the keeper ----

hpcsweep_keep_pack() {
  hpcsweep_self=$BASHPID hpcsweep_is_ending=0 hpcsweep_status=0 hpcsweep_supervisors=() hpcsweep_setup_umask=''
  hpcsweep_setup_functions='' hpcsweep_phase=starting hpcsweep_verdict=''
  [[ -z $timer ]] || exec {timer}>&-
  trap 'builtin printf "left %s\n" "$?" >&"$hpcsweep_news"' EXIT
  hpcsweep_set_keepers_traps
  hpcsweep_first_position=$((hpcsweep_element * hpcsweep_tasks_per_element))
  hpcsweep_end_position=$((hpcsweep_first_position + hpcsweep_tasks_per_element))
  ((hpcsweep_end_position <= hpcsweep_positions)) || hpcsweep_end_position=$hpcsweep_positions
  exec {hpcsweep_free}<> <(:)
  hpcsweep_find_gpus
  hpcsweep_share_cpus
  if [[ -z $hpcsweep_setup_status ]]; then
    hpcsweep_setup_status=0
    if declare -F hpcsweep_setup >/dev/null; then hpcsweep_set_up_pack; fi
  fi
  hpcsweep_give_places
  if declare -F hpcsweep_teardown >/dev/null && ((hpcsweep_setup_status == 0 && !hpcsweep_is_ending)); then hpcsweep_teardown; fi
  ((!hpcsweep_is_ending)) || hpcsweep_status=143
  exit "$hpcsweep_status"
}

hpcsweep_set_keepers_traps() {
  local name
  trap 'hpcsweep_is_ending=1; hpcsweep_pass_to_supervisors TERM' TERM
  for name in INT HUP USR1 USR2; do
    # shellcheck disable=SC2064 # now
    trap "hpcsweep_pass_to_supervisors $name" "$name"
  done
  trap '' ALRM
}

hpcsweep_set_up_pack() { # once, for all tasks; what it prints goes to each task's log
  local log=$hpcsweep_tmp/setup.log out err status umask name
  umask=$(umask)
  hpcsweep_restore_locale
  exec {out}>&1 {err}>&2 >"$log" 2>&1
  hpcsweep_enter_environment
  hpcsweep_setup
  status=$?
  trap - DEBUG ERR RETURN
  hpcsweep_plain_shell
  exec >&"$out" 2>&"$err" {out}>&- {err}>&-
  hpcsweep_saved_locale=${LC_ALL-unset}
  LC_ALL=C
  hpcsweep_set_keepers_traps
  # Its umask is for the tasks, not for their records; so are functions that are called as our own tools.
  hpcsweep_setup_umask=$(umask)
  umask "$umask"
  for name in read wait kill printf exec trap set shopt eval test echo jobs mapfile; do
    declare -F "$name" >/dev/null || continue
    hpcsweep_setup_functions+=$(declare -f "$name")$'\n'
    unset -f "$name"
  done
  { IFS= read -r -d '' hpcsweep_setup_text <"$log"; } 2>/dev/null
  ((!hpcsweep_is_ending)) || exit 143 # it may have been cut short
  hpcsweep_setup_status=$status
  printf 'over\n' >&"$hpcsweep_news"
}

hpcsweep_take_over_setup() { # in the task's own shell: what the setup of its element has made
  builtin printf %s "$hpcsweep_setup_text"
  [[ -z $hpcsweep_setup_umask ]] || umask "$hpcsweep_setup_umask"
  builtin eval "$hpcsweep_setup_functions"
  return "$hpcsweep_setup_status"
}

hpcsweep_give_places() { # whenever one is free, to the next task
  local next=$hpcsweep_first_position slot
  while :; do
    for ((slot = 0; slot < hpcsweep_parallel && next < hpcsweep_end_position; slot++)); do
      [[ -z ${hpcsweep_supervisors[slot]-} ]] || continue
      hpcsweep_may_begin "$next" || break 2
      hpcsweep_position=$next
      hpcsweep_read_chunk || {
        hpcsweep_is_ending=1
        break 2
      }
      exec {hpcsweep_pipe}<&-
      set -m
      hpcsweep_use_place "$slot" &
      hpcsweep_supervisors[slot]=$!
      set +m
      ((next++))
    done
    ((${#hpcsweep_supervisors[@]})) || return 0
    hpcsweep_await_place
  done
  while ((${#hpcsweep_supervisors[@]})); do hpcsweep_await_place; done
}

hpcsweep_may_begin() { # the position $1: unless somebody wants the end, or its time would not suffice
  local now
  ((!hpcsweep_is_ending)) && kill -0 "$hpcsweep_element_pid" 2>/dev/null || return
  [[ -z ${hpcsweep_max_failures-} || ! -e $hpcsweep_run_dir/held-back ]] || return
  # What the element itself took, or an earlier task in ending, is not held against the last round: a tenth may be missing.
  if [[ -n $hpcsweep_ends_at ]] && ((hpcsweep_setup_status == 0 && $1 >= hpcsweep_first_position + hpcsweep_parallel)); then
    hpcsweep_now now
    (((hpcsweep_ends_at - now) * 10 >= ${hpcsweep_task_time_limit_s:-60} * 9)) || return
  fi
}

hpcsweep_await_place() { # until one is free
  local slot pid status
  exec {hpcsweep_stderr}>&2 2>/dev/null # bash would tell of a supervisor that was killed
  if read -r -t 2 slot pid status <&"$hpcsweep_free"; then
    # One that was taken for killed, and had said it after all, has given its place to another.
    if [[ ${hpcsweep_supervisors[slot]-} == "$pid" ]]; then
      unset -v "hpcsweep_supervisors[slot]"
      ((status == 0)) || hpcsweep_status=1
    fi
  else
    for slot in "${!hpcsweep_supervisors[@]}"; do
      if ! kill -0 "${hpcsweep_supervisors[slot]}"; then
        unset -v "hpcsweep_supervisors[slot]"
        hpcsweep_status=1
      fi
    done
  fi
  exec 2>&"$hpcsweep_stderr" {hpcsweep_stderr}>&-
}

hpcsweep_pass_to_supervisors() {
  local pid
  for pid in "${hpcsweep_supervisors[@]}"; do kill -s "$1" "$pid" 2>/dev/null; done
}

# ---- a place ----

hpcsweep_use_place() { # the slot $1: run the position as a task that is alone is run, then say that the place is free
  local now
  hpcsweep_slot=$1 hpcsweep_self=$BASHPID
  hpcsweep_set_traps
  if [[ -n ${hpcsweep_task_time_limit_s-} ]]; then
    hpcsweep_now now
    if [[ -z $hpcsweep_ends_at ]] || ((now + hpcsweep_task_time_limit_s < hpcsweep_ends_at)); then
      hpcsweep_ends_at=$((now + hpcsweep_task_time_limit_s)) hpcsweep_enforce_time_limit=1
    fi
  fi
  # What it has to be told of comes to nobody else: somebody cancels it alone, or the element's own shell was killed.
  hpcsweep_watch_s=${hpcsweep_watch_s:-10}
  if [[ $hpcsweep_tmp != "${TMPDIR:-/tmp}" ]]; then
    hpcsweep_place_tmp=$hpcsweep_tmp/$hpcsweep_slot
    [[ -d $hpcsweep_place_tmp ]] || hpcsweep_tool mkdir -- "$hpcsweep_place_tmp"
  fi
  hpcsweep_run_position "$hpcsweep_position"
  # What the program left behind would go on in a place that is another's.
  [[ -z $hpcsweep_pid ]] || kill -KILL -- "-$hpcsweep_pid" 2>/dev/null
  hpcsweep_clear_place
  printf '%s %s %s\n' "$hpcsweep_slot" "$hpcsweep_self" "$hpcsweep_status" >&"$hpcsweep_free"
  exit "$hpcsweep_status"
}

hpcsweep_clear_place() {
  [[ -n ${hpcsweep_place_tmp-} ]] || return 0
  shopt -s nullglob dotglob
  local left=("$hpcsweep_place_tmp"/*)
  ((${#left[@]} == 0)) || hpcsweep_tool rm -rf -- "$hpcsweep_place_tmp"
}

hpcsweep_is_called_off() { # by somebody who cannot tell the scheduler, for others share the element; or with the element
  hpcsweep_is_cancelled || hpcsweep_is_orphaned
}

hpcsweep_is_orphaned() { # the element's own shell was killed: the scheduler takes it for ended
  [[ -n ${hpcsweep_element_pid-} ]] && ! kill -0 "$hpcsweep_element_pid" 2>/dev/null
}

hpcsweep_export_place() { # what a task finds of its own share
  export HPCSWEEP_SLOT=$hpcsweep_slot
  [[ -z ${hpcsweep_place_tmp-} ]] || export TMPDIR=$hpcsweep_place_tmp
  export OMP_NUM_THREADS=$hpcsweep_share
  [[ $hpcsweep_scheduler != slurm ]] || hpcsweep_export_step
}

hpcsweep_export_step() { # what `srun` goes by: its share of the job, beside the steps of other tasks
  local ranks=${hpcsweep_task_ranks:-1} cpus=${hpcsweep_task_cpus:-$hpcsweep_share}
  export SLURM_NTASKS=$ranks SLURM_NPROCS=$ranks SLURM_TASKS_PER_NODE=$ranks SLURM_STEP_NUM_TASKS=$ranks
  export SLURM_CPUS_PER_TASK=$cpus SRUN_CPUS_PER_TASK=$cpus SLURM_EXACT=1
  [[ -z ${hpcsweep_task_ranks-} ]] || export SLURM_NTASKS_PER_NODE=$ranks
  # A step takes all of the job's GPUs unless it is told otherwise; of its own Slurm sees to it that no other step has them.
  [[ -z ${hpcsweep_gpus_per_task-} ]] || export SLURM_GRES=gpu:$hpcsweep_gpus_per_task
  [[ -z ${hpcsweep_tasks_per_gpu-} ]] || export SLURM_OVERLAP=1
  [[ -z ${hpcsweep_task_memory_mib-} ]] || export SLURM_MEM_PER_NODE=$hpcsweep_task_memory_mib
}

# ---- cores ----

hpcsweep_share_cpus() { # -> hpcsweep_share (cores of a task), hpcsweep_place_cpus (slot -> list; none: not bound)
  local word text='' cpus=() asked
  hpcsweep_place_cpus=()
  while read -r word text; do
    [[ $word != Cpus_allowed_list: ]] || break
    text=''
  done </proc/self/status
  hpcsweep_list_cpus "$text"
  asked=$((${hpcsweep_task_cpus:-1} * ${hpcsweep_task_ranks:-1}))
  hpcsweep_share=${hpcsweep_task_cpus:-1}
  # On cores that others may use too, all elements would be bound to the same ones.
  [[ $hpcsweep_scheduler != local ]] && ((${#cpus[@]} <= 2 * asked * hpcsweep_parallel)) || return 0
  local many=$((${#cpus[@]} / hpcsweep_parallel)) slot IFS=,
  ((many > 0)) || return 0
  for ((slot = 0; slot < hpcsweep_parallel; slot++)); do hpcsweep_place_cpus[slot]="${cpus[*]:slot*many:many}"; done
}

hpcsweep_list_cpus() { # 0-3,8 -> cpus, the threads of one core side by side
  local part number core line
  local -A threads=()
  local -a order=()
  hpcsweep_split , "$1"
  for part in "${hpcsweep_words[@]}"; do
    [[ $part =~ ^([0-9]+)(-([0-9]+))?$ ]] || return 0
    for ((number = BASH_REMATCH[1]; number <= ${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}; number++)); do
      core=$number line=''
      { read -r line </sys/devices/system/cpu/cpu"$number"/topology/thread_siblings_list; } 2>/dev/null
      [[ -z $line ]] || core=${line%%[,-]*}
      [[ -n ${threads[$core]-} ]] || order+=("$core")
      threads[$core]+=" $number"
    done
  done
  # shellcheck disable=SC2206 # numbers
  for core in "${order[@]}"; do cpus+=(${threads[$core]}); done
}

hpcsweep_bind() { # this process, and all that come of it
  [[ -z ${hpcsweep_place_cpus[hpcsweep_slot]-} ]] || hpcsweep_tool taskset -cp "${hpcsweep_place_cpus[hpcsweep_slot]}" "$BASHPID" >/dev/null 2>&1
}
