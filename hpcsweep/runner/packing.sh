# shellcheck shell=bash disable=SC2154,SC2034 # the header of the script, and runner.sh, assign and use what is not assigned and used here
# An element that several tasks share. Only functions.
#
# Three kinds of shells, each with its own process group (never a session: a `setsid` child outlives its PBS job):
#   the element's own   waits, and passes signals on
#   the keeper          runs `setup`, whose environment all below it inherit; gives out the places; runs `teardown`
#   supervisors         one for each task that runs, exactly as for a task that is alone (runner.sh)
# A supervisor says in a pipe that its place is free again. One that was killed says nothing, so the keeper looks, too.

hpcsweep_run_pack() {
  local word text=''
  hpcsweep_element_pid=$hpcsweep_self hpcsweep_setup_status='' hpcsweep_setup_text='' hpcsweep_tmp=''
  exec {hpcsweep_news}<> <(:)
  hpcsweep_await_keeper
  printf 'end\n' >&"$hpcsweep_news"
  read -r word hpcsweep_setup_status hpcsweep_tmp <&"$hpcsweep_news"
  if [[ $word == setup ]]; then # it ended the shell that ran it: another tells the tasks
    { IFS= read -r -d '' hpcsweep_setup_text <"${hpcsweep_tmp:-/tmp}/setup.$hpcsweep_keeper"; } 2>/dev/null
    hpcsweep_await_keeper
  fi
}

hpcsweep_await_keeper() {
  local before
  set -m
  hpcsweep_keep_pack </dev/null &
  hpcsweep_keeper=$!
  set +m
  hpcsweep_phase=packing
  [[ -z $hpcsweep_verdict ]] || hpcsweep_pass_to_keeper TERM # it came before there was a keeper
  exec {hpcsweep_stderr}>&2 2>/dev/null # bash would tell of a child that was killed
  while :; do
    before=$hpcsweep_interrupts
    wait "$hpcsweep_keeper"
    hpcsweep_status=$?
    # A wait that a signal cut short is repeated; the status of a child that ended at that moment may be lost.
    if ((before == hpcsweep_interrupts)) || ! kill -0 "$hpcsweep_keeper" 2>/dev/null; then break; fi
  done
  exec 2>&"$hpcsweep_stderr" {hpcsweep_stderr}>&-
}

hpcsweep_pass_to_keeper() {
  kill -s "$1" -- "-$hpcsweep_keeper" 2>/dev/null
  [[ $1 != TERM ]] || kill -CONT -- "-$hpcsweep_keeper" 2>/dev/null
}

# ---- the keeper ----

hpcsweep_keep_pack() {
  local name
  hpcsweep_self=$BASHPID hpcsweep_is_ending=0 hpcsweep_status=0 hpcsweep_supervisors=()
  trap 'hpcsweep_is_ending=1; hpcsweep_pass_to_supervisors TERM' TERM
  for name in INT HUP USR1 USR2; do
    # shellcheck disable=SC2064 # now
    trap "hpcsweep_pass_to_supervisors $name" "$name"
  done
  trap '' ALRM
  hpcsweep_first_position=$((hpcsweep_element * hpcsweep_tasks_per_element))
  hpcsweep_end_position=$((hpcsweep_first_position + hpcsweep_tasks_per_element))
  ((hpcsweep_end_position <= hpcsweep_positions)) || hpcsweep_end_position=$hpcsweep_positions
  exec {hpcsweep_free}<> <(:)
  [[ -n $hpcsweep_tmp ]] || hpcsweep_make_tmp
  hpcsweep_find_gpus
  hpcsweep_share_cpus
  if [[ -z $hpcsweep_setup_status ]]; then
    hpcsweep_setup_status=0
    if declare -F hpcsweep_setup >/dev/null; then hpcsweep_set_up_pack; fi
  fi
  hpcsweep_give_places
  if declare -F hpcsweep_teardown >/dev/null && ((hpcsweep_setup_status == 0 && !hpcsweep_is_ending)); then hpcsweep_teardown; fi
  [[ -z $hpcsweep_tmp ]] || hpcsweep_tool rm -rf -- "$hpcsweep_tmp"
  ((!hpcsweep_is_ending)) || hpcsweep_status=143
  exit "$hpcsweep_status"
}

hpcsweep_make_tmp() { # a folder that holds each place's TMPDIR
  hpcsweep_tmp=$(hpcsweep_tool mktemp -d -- "${TMPDIR:-/tmp}/hpcsweep.XXXXXXXX" 2>/dev/null)
  [[ -n $hpcsweep_tmp ]] || hpcsweep_say "no folder could be made in ${TMPDIR:-/tmp}: the tasks share it"
}

hpcsweep_set_up_pack() { # once, for all tasks; what it prints goes to each task's log
  local log=${hpcsweep_tmp:-/tmp}/setup.$hpcsweep_self
  hpcsweep_restore_locale
  # A setup that calls `exit` ends this very shell, in which nothing more can be started then.
  trap 'hpcsweep_end_setup $?; printf "setup %s %s\n" "$hpcsweep_setup_status" "$hpcsweep_tmp" >&"$hpcsweep_news"' EXIT
  exec {hpcsweep_out}>&1 {hpcsweep_err}>&2 >"$log" 2>&1
  hpcsweep_enter_environment
  hpcsweep_setup
  hpcsweep_end_setup $?
}

hpcsweep_end_setup() { # its exit status
  trap - DEBUG ERR RETURN EXIT
  hpcsweep_plain_shell
  hpcsweep_setup_status=$1
  exec >&"$hpcsweep_out" 2>&"$hpcsweep_err" {hpcsweep_out}>&- {hpcsweep_err}>&-
  { IFS= read -r -d '' hpcsweep_setup_text <"${hpcsweep_tmp:-/tmp}/setup.$hpcsweep_self"; } 2>/dev/null
  [[ -n $hpcsweep_tmp ]] || hpcsweep_tool rm -f -- "/tmp/setup.$hpcsweep_self"
  hpcsweep_saved_locale=${LC_ALL-unset}
  LC_ALL=C
}

hpcsweep_give_places() { # whenever one is free, to the next task
  local next=$hpcsweep_first_position slot status line
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
  if [[ -n $hpcsweep_ends_at ]] && (($1 >= hpcsweep_first_position + hpcsweep_parallel)); then
    hpcsweep_now now
    (((hpcsweep_ends_at - now) * 10 >= ${hpcsweep_task_time_limit_s:-60} * 9)) || return
  fi
}

hpcsweep_await_place() { # until one is free
  local line slot status
  exec {hpcsweep_stderr}>&2 2>/dev/null # bash would tell of a supervisor that was killed
  if read -r -t 2 line <&"$hpcsweep_free"; then
    read -r slot status <<<"$line"
    wait "${hpcsweep_supervisors[slot]}"
    unset -v "hpcsweep_supervisors[slot]"
    ((status == 0)) || hpcsweep_status=1
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
  if [[ -n $hpcsweep_tmp ]]; then
    hpcsweep_place_tmp=$hpcsweep_tmp/$hpcsweep_slot
    [[ -d $hpcsweep_place_tmp ]] || hpcsweep_tool mkdir -- "$hpcsweep_place_tmp"
  fi
  hpcsweep_run_position "$hpcsweep_position"
  # What the program left behind would go on in a place that is another's.
  [[ -z $hpcsweep_pid ]] || kill -KILL -- "-$hpcsweep_pid" 2>/dev/null
  hpcsweep_clear_place
  printf '%s %s\n' "$hpcsweep_slot" "$hpcsweep_status" >&"$hpcsweep_free"
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
  local parts part number core line
  local -A threads=()
  local -a order=()
  IFS=, read -r -a parts <<<"$1"
  for part in "${parts[@]}"; do
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
