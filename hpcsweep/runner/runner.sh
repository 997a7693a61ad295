# shellcheck shell=bash disable=SC2154 # the header of the script assigns what is not assigned here
# The task side of hpcsweep: bash 4.2 or later and coreutils. Only functions; hpcsweep_main runs the element.
#
# The rules, by number (docs/design.md has the names of the event files):
#  1 An attempt belongs to whoever hard-links its claim T.A. A claim is never renamed or deleted. No claim, no program.
#  2 A claim of another job: do nothing, say nothing. A claim of the same job: an outcome exists -> nothing; a token
#    rN.run exists -> rename it to r(N+1).run and run as a restart; neither -> make r0.run.
#  3 The end is one rename, of the token to the outcome. If it fails and the outcome is not ours, another incarnation
#    has the token: leave T.A.late.rN and touch nothing else.
#  4 TERM ends an attempt only as `cancelled` (the marker says so) or `timeout` (our clock says so). Otherwise the token
#    stays, for a requeue may follow, and the scheduler names the cause. With `signal:` see ending.sh.
#  5 While the program runs, the token is looked for; a minute after it is gone, the program is ended. A program whose
#    supervisor was killed is killed too: nothing that it does could count.
#  6 "No such file" decides nothing the first time: directory caches lag.
#  7 Commands are read whole and their hash is checked. A run folder that is gone is never made again.
#
# The shell that runs hpcsweep_main only supervises: it waits for one child, so that no signal ever has to wait. The
# child is the head of a process group of its own and holds everything of the user's: environment, setup, command.

hpcsweep_main() {
  hpcsweep_status=0 hpcsweep_phase=starting hpcsweep_verdict='' hpcsweep_pid='' hpcsweep_verdict_at='' hpcsweep_deadline=''
  hpcsweep_interrupts=0 hpcsweep_messages=''
  hpcsweep_self=$BASHPID
  hpcsweep_save_shell
  hpcsweep_set_traps
  if hpcsweep_find_element && hpcsweep_find_run; then
    if ((hpcsweep_tasks_per_element > 1)); then
      hpcsweep_run_pack
    else
      hpcsweep_find_gpus
      hpcsweep_run_position "$hpcsweep_element"
    fi
  fi
  trap - TERM ALRM INT HUP USR1 USR2
  hpcsweep_restore_shell
  return "$hpcsweep_status"
}

hpcsweep_set_traps() {
  trap hpcsweep_on_term TERM
  trap hpcsweep_on_alarm ALRM
  trap 'hpcsweep_pass_on INT' INT
  trap 'hpcsweep_pass_on HUP' HUP
  trap 'hpcsweep_pass_on USR1' USR1
  trap 'hpcsweep_pass_on USR2' USR2
}

# ---- the shell we were started in ----

hpcsweep_save_shell() {
  # A user's own script may have set anything before it came to us.
  hpcsweep_saved_options=:$SHELLOPTS:$BASHOPTS: hpcsweep_saved_ifs=${IFS-unset}
  hpcsweep_saved_locale=${LC_ALL-unset}
  hpcsweep_plain_shell
  # Bytes are bytes here: in some locales a quote may be the second half of a character.
  LC_ALL=C
  trap - DEBUG ERR RETURN
  if [[ $hpcsweep_saved_options == *:allexport:* ]]; then
    export -n "${!hpcsweep_@}"
    # shellcheck disable=SC2046 # function names hold no blanks
    export -nf $(compgen -A function hpcsweep_)
  fi
}

hpcsweep_plain_shell() {
  set +a +e +f +u +v +x +C +m +o pipefail
  shopt -u nullglob failglob nocaseglob nocasematch dotglob extdebug
  IFS=$' \t\n'
}

hpcsweep_restore_locale() {
  if [[ $hpcsweep_saved_locale == unset ]]; then
    unset -v LC_ALL
  else
    LC_ALL=$hpcsweep_saved_locale
  fi
} 2>/dev/null # bash has complained at its start if this machine does not have it

hpcsweep_restore_shell() {
  local name
  hpcsweep_restore_locale
  for name in nullglob failglob nocaseglob nocasematch dotglob; do
    [[ $hpcsweep_saved_options != *:$name:* ]] || shopt -s "$name"
  done
  if [[ $hpcsweep_saved_ifs == unset ]]; then unset -v IFS; else IFS=$hpcsweep_saved_ifs; fi
  for name in allexport noglob verbose noclobber pipefail nounset xtrace errexit; do
    [[ $hpcsweep_saved_options != *:$name:* ]] || set -o "$name"
  done
}

hpcsweep_tool() {
  # The user's PATH, functions and libraries must not come between us and coreutils.
  PATH=/usr/bin:/bin:$PATH LD_PRELOAD='' LD_LIBRARY_PATH='' command "$@"
}

hpcsweep_say() { # to the elements' common log, which is empty when all is well
  printf 'hpcsweep: %s element %s: %s\n' "$hpcsweep_tag" "${hpcsweep_element-?}" "$1" >&2
}

hpcsweep_split() { # by the character $1 the text $2 -> hpcsweep_words; a here-string may need a file, for which there is no room
  local rest=$2
  hpcsweep_words=()
  while [[ $rest == *"$1"* ]]; do
    hpcsweep_words+=("${rest%%"$1"*}")
    rest=${rest#*"$1"}
  done
  [[ -z $rest ]] || hpcsweep_words+=("$rest")
}

hpcsweep_now() { # -> the variable named $1, epoch seconds
  printf -v "$1" '%(%s)T' -1
}

# ---- who and where we are ----

hpcsweep_find_element() {
  local limit_s scheduler=$hpcsweep_scheduler
  # Slurm's own qsub says who we are in Slurm's words.
  [[ $scheduler != torque || -n ${PBS_JOBID-} || -z ${SLURM_JOB_ID-} ]] || scheduler=slurm
  case $scheduler in
    slurm)
      hpcsweep_element=${SLURM_ARRAY_TASK_ID-0}
      hpcsweep_job=${SLURM_JOB_ID-}
      [[ -z ${SLURM_ARRAY_TASK_ID-} ]] || hpcsweep_job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
      ;;
    pbs) hpcsweep_element=${PBS_ARRAY_INDEX-0} hpcsweep_job=${PBS_JOBID-} ;;
    torque) hpcsweep_element=${PBS_ARRAYID-0} hpcsweep_job=${PBS_JOBID-} ;;
    *) hpcsweep_element=${HPCSWEEP_ELEMENT-0} hpcsweep_job=${HPCSWEEP_JOB-} ;;
  esac
  if [[ ! $hpcsweep_element =~ ^[0-9]+$ || -z $hpcsweep_job ]]; then
    hpcsweep_say 'no element number or job id: this script is started by the scheduler, not by hand'
    hpcsweep_status=1
    return 1
  fi
  # HOSTNAME may be the submitting host's, exported; the kernel knows better.
  read -r hpcsweep_host </proc/sys/kernel/hostname || hpcsweep_host=${HOSTNAME:-unknown}
  printf -v hpcsweep_shell_started '%(%s)T' -2
  hpcsweep_ends_at='' limit_s=${hpcsweep_time_limit_s-}
  if [[ $hpcsweep_scheduler == slurm ]]; then
    # Two moments of the controller's clock make a length; neither is ever compared with a moment of this node's clock.
    if [[ ${SLURM_JOB_START_TIME-} =~ ^[0-9]+$ && ${SLURM_JOB_END_TIME-} =~ ^[0-9]+$ ]]; then
      limit_s=$((SLURM_JOB_END_TIME - SLURM_JOB_START_TIME))
    elif [[ -n $limit_s ]]; then
      limit_s=$(((limit_s + 59) / 60 * 60)) # Slurm counts whole minutes
    fi
  fi
  [[ -z $limit_s ]] || hpcsweep_ends_at=$((hpcsweep_shell_started + limit_s))
}

hpcsweep_find_run() {
  local text='' tag=''
  hpcsweep_events=$hpcsweep_run_dir/arrays/$hpcsweep_array/events
  if [[ ! -d $hpcsweep_events ]]; then
    hpcsweep_say "the run folder $hpcsweep_run_dir is gone; nothing was run"
    hpcsweep_status=1
    return 1
  fi
  # Another run may have been made under the same path since, or a copy moved there: its events are not ours to write.
  { IFS= read -r -d '' text <"$hpcsweep_run_dir/run.json"; } 2>/dev/null
  { IFS= read -r tag <"$hpcsweep_run_dir/arrays/$hpcsweep_array/tag"; } 2>/dev/null
  if [[ $text != *"\"$hpcsweep_run_uid\""* || ${tag:-$hpcsweep_tag} != "$hpcsweep_tag" ]]; then
    hpcsweep_say "the run folder $hpcsweep_run_dir is not that of run $hpcsweep_run_uid any more; nothing was run"
    hpcsweep_status=1
    return 1
  fi
  [[ -z ${hpcsweep_umask-} ]] || umask "$hpcsweep_umask"
}

hpcsweep_refresh() {
  # Opening a directory makes a network file system's client ask the server again, at no process' cost.
  { : <"$hpcsweep_events"; } 2>/dev/null
}

# ---- one position: claim, run, record ----

hpcsweep_run_position() {
  hpcsweep_position=$1
  local is_intact=1
  hpcsweep_read_chunk || return
  if hpcsweep_is_chunk_intact; then
    hpcsweep_evaluate_chunk
  else
    is_intact=0
    hpcsweep_guess_task
  fi
  unset -v hpcsweep_chunk
  if [[ -z ${hpcsweep_task-} ]]; then
    hpcsweep_say "the commands of position $hpcsweep_position are not in their file (edited after submit?)"
    hpcsweep_status=1
    return
  fi
  if [[ -n ${hpcsweep_condition-} ]]; then
    hpcsweep_count_tasks "$hpcsweep_condition"
    ((hpcsweep_count >= hpcsweep_total)) || return 0
  elif [[ -n ${hpcsweep_max_failures-} && -e $hpcsweep_run_dir/held-back ]]; then
    return 0 # too many tasks failed: this one is not begun, and hpcsweep gives it out again
  fi
  hpcsweep_claim || return
  hpcsweep_now hpcsweep_started
  if hpcsweep_is_cancelled; then
    hpcsweep_finish cancelled 0 143
  elif ((!is_intact)); then
    hpcsweep_say "task $hpcsweep_task: its commands were edited after submit; not run"
    hpcsweep_finish broken 1 1
  elif ! hpcsweep_make_folder; then
    hpcsweep_say "task $hpcsweep_task: its folder $hpcsweep_task_dir could not be written"
    hpcsweep_finish broken 2 1
  elif [[ -n ${hpcsweep_gpu_problem-} ]]; then
    printf 'hpcsweep: %s\n' "$hpcsweep_gpu_problem" >>"$hpcsweep_log"
    hpcsweep_finish broken 7 1
  elif [[ ! -d $hpcsweep_program_dir ]]; then
    hpcsweep_say "task $hpcsweep_task: the working directory $hpcsweep_program_dir is not there"
    hpcsweep_finish broken 3 1
  else
    hpcsweep_supervise
    hpcsweep_conclude
  fi
  exec {hpcsweep_token_fd}<&- {hpcsweep_pipe}<&-
  [[ -z ${hpcsweep_max_failures-} ]] || ((hpcsweep_status == 0)) || hpcsweep_hold_back
}

hpcsweep_hold_back() { # a failure: was it one too many?
  local released=0
  { read -r released <"$hpcsweep_run_dir/released"; } 2>/dev/null
  [[ $released =~ ^[0-9]+$ ]] || released=0
  hpcsweep_count_tasks failed
  ((hpcsweep_count - released < hpcsweep_max_failures)) || { : >>"$hpcsweep_run_dir/held-back"; } 2>/dev/null
}

hpcsweep_read_chunk() {
  local IFS='' lines=() file number=$((hpcsweep_position / hpcsweep_chunk_size))
  if [[ ${hpcsweep_chunk_number-} == "$number" ]]; then # by the shell that this one came of
    exec {hpcsweep_pipe}<> <(:)
    return
  fi
  printf -v file '%s/arrays/%s/tasks/%04d.sh' "$hpcsweep_run_dir" "$hpcsweep_array" "$number"
  if ! { mapfile lines <"$file"; } 2>/dev/null; then
    hpcsweep_say "the commands in $file could not be read"
    hpcsweep_status=1
    return 1
  fi
  hpcsweep_chunk="${lines[*]}"
  # The hash is of what is in memory, not of the file, which may change while we look. Opened for reading and writing,
  # the pipe that brings the hash stays open and serves later for the child's messages.
  exec {hpcsweep_pipe}<> <(hpcsweep_hash)
  IFS=' ' read -r -t 300 hpcsweep_chunk_hash _ <&"$hpcsweep_pipe"
  if [[ ${#hpcsweep_chunk_hash} != 64 ]]; then # no word of the commands, but of this node
    hpcsweep_say "the commands in $file could not be checked: sha256sum gave no answer; nothing was run"
    hpcsweep_status=1
    return 1
  fi
  hpcsweep_chunk_number=$number
}

hpcsweep_is_chunk_intact() {
  [[ $hpcsweep_chunk_hash == "${hpcsweep_chunk_hashes[hpcsweep_position / hpcsweep_chunk_size]}" ]]
}

hpcsweep_hash() {
  export PATH=/usr/bin:/bin:$PATH LD_PRELOAD='' LD_LIBRARY_PATH=''
  # A short here-string is a pipe in newer bash, and saves a process; else it is a file, for which there may be no room.
  if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501 && ${#hpcsweep_chunk} < 60000)) && [[ $hpcsweep_chunk == *$'\n' ]]; then
    exec sha256sum <<<"${hpcsweep_chunk%$'\n'}"
  fi
  exec sha256sum < <(printf %s "$hpcsweep_chunk")
}

hpcsweep_evaluate_chunk() {
  unset -v hpcsweep_task hpcsweep_attempt hpcsweep_command hpcsweep_argv hpcsweep_stdin hpcsweep_stage_in hpcsweep_stage_out
  unset -f hpcsweep_env hpcsweep_files
  eval "$hpcsweep_chunk"
}

hpcsweep_guess_task() {
  # Of an edited chunk nothing is run; only the numbers are taken, so that the failure is recorded where it belongs.
  local rest
  unset -v hpcsweep_task hpcsweep_attempt
  rest=${hpcsweep_chunk#*"if ((hpcsweep_position == $hpcsweep_position)); then"$'\n'}
  if [[ ${#rest} != "${#hpcsweep_chunk}" && ${rest:0:200} =~ ^hpcsweep_task=([0-9]+|finally)\ hpcsweep_attempt=([0-9]+)\  ]]; then
    hpcsweep_task=${BASH_REMATCH[1]} hpcsweep_attempt=${BASH_REMATCH[2]}
  fi
}

hpcsweep_count_tasks() { # how many of the run are `done`, `ended` or `failed` -> hpcsweep_count
  # Counts tasks, not attempts: a task counts by its latest attempt that left any trace.
  local path name task attempt rest
  local -A latest=() ended=()
  for path in "$hpcsweep_run_dir"/arrays/*/events/*; do
    name=${path##*/}
    [[ $name =~ ^([0-9]+)\.([0-9]+)(\..*)?$ ]] || continue
    task=${BASH_REMATCH[1]} attempt=${BASH_REMATCH[2]} rest=${BASH_REMATCH[3]}
    # Of a task that runs again, what it did before does not count.
    ((attempt >= ${latest[$task]-0} && attempt >= ${hpcsweep_attempts[task]-1})) || continue
    if ((attempt > ${latest[$task]-0})); then
      latest[$task]=$attempt
      unset -v "ended[$task]"
    fi
    # One that has saved goes on in its next attempt.
    [[ -z ${hpcsweep_most_continuations-} || $rest != .timeout.[1-9]* ]] || continue
    # Nor does an end that a rule of the sweep runs again.
    if [[ -n ${hpcsweep_retried-} && $rest =~ ^\.($hpcsweep_retried)(\.[0-9]+)?$ ]]; then
      ((attempt >= hpcsweep_retry_attempts)) || continue
    fi
    case $1$rest in
      done.done.0.* | done.stopped.*) ended[$task]=1 ;;
      failed.done.0.*) ;;
      failed.done.* | failed.sig.* | failed.timeout.* | failed.setup.* | failed.broken.* | failed.*.lost) ended[$task]=1 ;;
      ended.done.* | ended.sig.* | ended.timeout.* | ended.cancelled.* | ended.stopped.*) ended[$task]=1 ;;
      ended.setup.* | ended.broken.* | ended.*.lost) ended[$task]=1 ;;
    esac
  done
  hpcsweep_count=${#ended[@]}
}

# ---- claim, token, outcome (rules 1 to 3) ----

hpcsweep_claim() { # success: the attempt is ours, under hpcsweep_token
  local line claim temporary owner job rest
  hpcsweep_name=$hpcsweep_task.$hpcsweep_attempt hpcsweep_token=''
  claim=$hpcsweep_events/$hpcsweep_name
  hpcsweep_refresh
  if [[ ! -e $claim ]]; then
    hpcsweep_now rest
    line="$hpcsweep_tag $hpcsweep_job $hpcsweep_host $hpcsweep_self $rest"
    temporary=$hpcsweep_events/.tmp.$hpcsweep_name.$hpcsweep_job.$hpcsweep_self.$RANDOM$RANDOM
    hpcsweep_write_checked "$temporary" "$line" || return
    if hpcsweep_tool ln -T -- "$temporary" "$claim" 2>/dev/null || [[ $temporary -ef $claim ]]; then
      hpcsweep_restart=0 hpcsweep_token=$claim.r0.run
      hpcsweep_make_token "$temporary" && return
    elif hpcsweep_refresh && [[ ! -e $claim ]]; then
      hpcsweep_say "no hard link can be made in $hpcsweep_events; nothing was run"
      hpcsweep_status=1
    fi
    # Ours and without a token, the temporary file is what the token is made of.
    [[ $temporary -ef $claim && ! -e ${hpcsweep_token-} ]] || hpcsweep_tool rm -f -- "$temporary"
    ((hpcsweep_status == 0)) || return
  fi
  { read -r owner job rest <"$claim"; } 2>/dev/null
  [[ $owner == "$hpcsweep_tag" && $job == "$hpcsweep_job" ]] && hpcsweep_take_up "$claim"
}

hpcsweep_write_checked() {
  # A full disk may show only when the file is closed: what counts is what can be read back.
  local back=''
  set -C
  { printf '%s\n' "$2" >"$1"; } 2>/dev/null
  set +C
  { IFS= read -r back <"$1"; } 2>/dev/null
  [[ $back != "$2" ]] || return 0
  hpcsweep_say "$hpcsweep_events cannot be written (disk full?); nothing was run"
  hpcsweep_tool rm -f -- "$1"
  hpcsweep_status=1
  return 1
}

hpcsweep_take_up() { # the claim $1 is this very job's: a requeue, or a replayed call
  local claim=$1 path try
  for try in 1 2 3; do
    hpcsweep_look_at "$claim"
    ((!hpcsweep_is_over)) || return
    hpcsweep_restart=$((hpcsweep_last_restart + 1)) hpcsweep_token=$claim.r$((hpcsweep_last_restart + 1)).run
    if ((hpcsweep_restart > 0)); then
      hpcsweep_tool mv -fT -- "$claim.r$hpcsweep_last_restart.run" "$hpcsweep_token" 2>/dev/null || continue
      hpcsweep_hold_token && return
      continue
    fi
    # It died between the claim and the token, and its temporary file is still there: whoever renames that has the token.
    for path in "$hpcsweep_events/.tmp.$hpcsweep_name."*; do
      [[ $path -ef $claim ]] || continue
      hpcsweep_make_token "$path" && return
      continue 2
    done
    # Not even that. A name that was free when we looked may have been used and left since: look again afterwards.
    hpcsweep_tool ln -T -- "$claim" "$hpcsweep_token" 2>/dev/null || continue
    hpcsweep_look_at "$claim"
    if ((hpcsweep_is_over || hpcsweep_last_restart > 0)); then
      hpcsweep_tool rm -f -- "$hpcsweep_token"
      return 1
    fi
    hpcsweep_hold_token && return
  done
  hpcsweep_say "task $hpcsweep_task: its token could not be taken up after $try tries"
  hpcsweep_status=1
  return 1
}

hpcsweep_make_token() { # of the claim's temporary name $1
  # Another incarnation of this same job may come between, when this one was cut off: hence -n, and only who did rename it
  # has the token. A replayed network call fails here too, and takes its own token up as a restart.
  hpcsweep_tool mv -nT -- "$1" "$hpcsweep_token" 2>/dev/null && [[ ! -e $1 ]] && hpcsweep_hold_token
}

hpcsweep_look_at() { # the claim $1: which restart has a token (-1: none), and whether the attempt is over
  local path rest
  hpcsweep_last_restart=-1 hpcsweep_is_over=0
  hpcsweep_refresh
  for path in "$1".*; do
    rest=${path:${#1}}
    if [[ $rest =~ ^\.r([0-9]+)\.run$ ]]; then
      ((BASH_REMATCH[1] <= hpcsweep_last_restart)) || hpcsweep_last_restart=${BASH_REMATCH[1]}
    elif [[ $rest =~ ^\.(done|sig|timeout|cancelled|stopped|setup|broken)\. || $rest =~ ^\.r[0-9]+\.lost$ ]]; then
      hpcsweep_is_over=1
    fi
  done
}

hpcsweep_hold_token() {
  # Open: by this very file the outcome is known as ours, whatever its name. Not for writing, which could make it.
  { exec {hpcsweep_token_fd}<"$hpcsweep_token"; } 2>/dev/null
}

hpcsweep_is_cancelled() {
  hpcsweep_refresh
  [[ -e $hpcsweep_events/cancel || -e $hpcsweep_events/$hpcsweep_name.cancel ]]
}

hpcsweep_finish() { # KIND CODE and the element's own exit status
  local now elapsed outcome try
  hpcsweep_phase=ending hpcsweep_status=$3
  hpcsweep_now now
  elapsed=$((now > hpcsweep_started ? now - hpcsweep_started : 0))
  outcome=$hpcsweep_events/$hpcsweep_name.$1.$2.$elapsed
  for try in 1 2 3; do
    if hpcsweep_tool mv -fT -- "$hpcsweep_token" "$outcome" 2>/dev/null; then
      # Only now, for the file of a token that was taken away is another's. Should the disk be full, the name says it all.
      { printf 'end %s %s\n' "$now" "$3" >>"/proc/self/fd/$hpcsweep_token_fd"; } 2>/dev/null
      hpcsweep_record_usage
      return 0
    fi
    [[ ! $outcome -ef /proc/self/fd/$hpcsweep_token_fd ]] || return 0
    if hpcsweep_is_token_gone; then
      hpcsweep_leave_late "$1" "$2"
      return
    fi
    hpcsweep_pause 1
  done
  hpcsweep_say "task $hpcsweep_task: its outcome $1 $2 could not be recorded after $try tries: $outcome"
}

hpcsweep_leave_late() { # KIND CODE: we were fenced, and this is kept aside
  local now
  hpcsweep_now now
  {
    set -C
    printf '%s %s %s %s %s\nend %s %s.%s\n' "$hpcsweep_tag" "$hpcsweep_job" "$hpcsweep_host" "$hpcsweep_self" \
      "$hpcsweep_started" "$now" "$1" "$2" >"$hpcsweep_events/$hpcsweep_name.late.r$hpcsweep_restart"
    set +C
  } 2>/dev/null
  hpcsweep_say "task $hpcsweep_task attempt $hpcsweep_attempt: its token was taken away; this end ($1 $2) does not count"
}

hpcsweep_is_token_gone() { # rule 6: a folder is asked twice before it is believed
  hpcsweep_refresh
  [[ ! -e $hpcsweep_token ]] || return 1
  hpcsweep_refresh
  [[ ! -e $hpcsweep_token ]] || return 1
  # Not there at all: the run was removed, or else the whole file system is out of reach and nothing is known.
  [[ -d $hpcsweep_events || -d ${hpcsweep_run_dir%/*} ]]
}

hpcsweep_pause() { # seconds, without a process; a signal may cut it short
  local line
  read -r -t "$1" line <&"$hpcsweep_pipe" && hpcsweep_messages+=$line$'\n' # the child had something to tell
}

# ---- the task's folder ----

hpcsweep_make_folder() {
  hpcsweep_task_dir=$hpcsweep_run_dir/tasks/$hpcsweep_task
  [[ $hpcsweep_task == finally ]] || printf -v hpcsweep_task_dir '%s/tasks/%06d' "$hpcsweep_run_dir" "$hpcsweep_task"
  hpcsweep_program_dir=$hpcsweep_workdir
  [[ $hpcsweep_workdir != task ]] || hpcsweep_program_dir=$hpcsweep_task_dir
  hpcsweep_log=$hpcsweep_task_dir/attempt-$hpcsweep_attempt.log
  # Without -p: a run folder that was removed must stay so.
  if [[ ! -d $hpcsweep_task_dir ]] && hpcsweep_tool mkdir -- "$hpcsweep_task_dir" 2>/dev/null; then
    # Nobody looks into a folder that is not a moment old, so this costs no second name and rename.
    if ! { printf '%s\n' "${hpcsweep_params-}" >"$hpcsweep_task_dir/params.json"; } 2>/dev/null; then
      hpcsweep_tool rm -f -- "$hpcsweep_task_dir/params.json" # no half of it
      return 1
    fi
  else
    [[ -d $hpcsweep_task_dir ]] || return
    hpcsweep_write_file "$hpcsweep_task_dir/params.json" "${hpcsweep_params-}"$'\n' 2>/dev/null || return
  fi
  { : >>"$hpcsweep_log"; } 2>/dev/null || return
  if ((hpcsweep_restart)); then
    printf -- '--- restart %s at %(%Y-%m-%dT%H:%M:%S%z)T on %s ---\n' "$hpcsweep_restart" -1 "$hpcsweep_host" >>"$hpcsweep_log"
  fi
}

hpcsweep_write_file() { # NAME TEXT, in the current folder: whole or not at all
  local have='' name=$1
  [[ $name == /* ]] || name=./$name
  if [[ -e $name ]]; then
    { IFS= read -r -d '' have <"$name"; } 2>/dev/null
    [[ $have != "$2" ]] || return 0
    # A program may have gone on with its own input file; a restart goes on with it too.
    [[ $1 == /* || $hpcsweep_restart == 0 ]] || return 0
  elif [[ $1 == [!/]*/* && ! -d ${name%/*} ]]; then
    hpcsweep_tool mkdir -p -- "${name%/*}" || return
  fi
  if { printf %s "$2" >"$name.tmp.$hpcsweep_self"; } 2>/dev/null \
    && hpcsweep_tool mv -fT -- "$name.tmp.$hpcsweep_self" "$name"; then
    return 0
  fi
  hpcsweep_tool rm -f -- "$name.tmp.$hpcsweep_self"
  printf 'hpcsweep: %s could not be written\n' "$1" >&2
  return 1
}

hpcsweep_link() { # TARGET NAME, in the current folder
  [[ -L $2 && $2 -ef $1 ]] || hpcsweep_tool ln -sT -- "$1" "$2"
}

# ---- the child: environment, setup, command ----

hpcsweep_supervise() {
  local before stderr pause
  hpcsweep_plan_signal
  hpcsweep_begin_usage
  exec {hpcsweep_watch_fd}<> >(hpcsweep_watch)
  set -m # the child leads a process group of its own, and gets no signal ignored
  hpcsweep_child </dev/null >>"$hpcsweep_log" 2>&1 &
  hpcsweep_pid=$!
  set +m
  exec {stderr}>&2 2>/dev/null # bash would tell of a child that was killed
  hpcsweep_phase=running
  [[ -z $hpcsweep_verdict ]] || hpcsweep_end_child # a TERM that came before there was a child
  while :; do
    # A wait that a signal cut short is repeated; bash remembers the status of a child that ended meanwhile.
    before=$hpcsweep_interrupts
    wait "$hpcsweep_pid"
    hpcsweep_child_status=$?
    ((before != hpcsweep_interrupts)) || break
    # But when signal and end fall together, bash can lose the status, takes the child for alive and would wait for ever.
    if ! kill -0 "$hpcsweep_pid" 2>/dev/null && [[ " $(jobs -rp | tr '\n' ' ')" == *" $hpcsweep_pid "* ]]; then
      hpcsweep_child_status=unknown
      break
    fi
  done
  # PBS and Torque signal all processes of a job one after the other, and ours may come behind the program's.
  for pause in 0.1 0.2 0.3 0.4 0.5; do # what the child has told cuts one short
    [[ $hpcsweep_child_status == 143 && -z $hpcsweep_verdict ]] || break
    hpcsweep_pause "$pause"
  done
  [[ -z $hpcsweep_verdict ]] || hpcsweep_drain
  hpcsweep_phase=ending
  exec 2>&"$stderr" {stderr}>&-
  printf 'over\n' >&"$hpcsweep_watch_fd"
  exec {hpcsweep_watch_fd}>&-
}

hpcsweep_child() {
  printf 'child %s\n' "$BASHPID" >&"$hpcsweep_watch_fd"
  exec {hpcsweep_token_fd}<&- {hpcsweep_watch_fd}>&- {hpcsweep_usage_fd}>&-
  hpcsweep_leave_places
  [[ -z ${hpcsweep_slot-} ]] || exec {hpcsweep_free}>&- {hpcsweep_news}>&-
  if ! hpcsweep_make_inputs; then
    hpcsweep_tell broken 2
    exit 1
  fi
  hpcsweep_restore_locale
  hpcsweep_enter_environment
  local status=0
  if [[ -n ${hpcsweep_slot-} ]]; then # it ran once, for all tasks of the element
    hpcsweep_bind
    hpcsweep_take_over_setup
    status=$?
  elif declare -F hpcsweep_setup >/dev/null; then
    hpcsweep_setup
    status=$?
    trap - DEBUG ERR RETURN
    hpcsweep_plain_shell
  fi
  ((status == 0)) || exit "$status"
  hpcsweep_export_facts # again: setup may have brought others along
  if declare -F hpcsweep_env >/dev/null; then hpcsweep_env; fi
  if ! builtin cd -- "$hpcsweep_program_dir"; then
    hpcsweep_tell broken 3
    exit 1
  fi
  ! hpcsweep_is_staged || hpcsweep_stage_files_in
  hpcsweep_tell started
  [[ ${hpcsweep_records_environment-} != 1 ]] || hpcsweep_record_environment
  if { [[ -n ${hpcsweep_slot-} ]] || ! declare -F hpcsweep_teardown >/dev/null; } && ! hpcsweep_is_staged; then
    hpcsweep_run_program
  fi
  # This shell has to outlive what ends the program.
  trap : TERM INT HUP USR1 USR2
  (hpcsweep_run_program)
  status=$?
  printf -v status '%s %(%s)T' "$status" -1
  hpcsweep_tell program "$status"
  ! hpcsweep_is_staged || hpcsweep_stage_files_out
  if [[ -z ${hpcsweep_slot-} ]] && declare -F hpcsweep_teardown >/dev/null; then hpcsweep_teardown; fi
  exit "${status% *}"
}

hpcsweep_leave_places() { # the local queue's slot and GPUs are the supervisor's, not those of whatever the program leaves behind
  [[ -z ${HPCSWEEP_SLOT_FD-} ]] || exec {HPCSWEEP_SLOT_FD}>&-
  [[ -z ${HPCSWEEP_GPUS_FD-} ]] || exec {HPCSWEEP_GPUS_FD}>&-
  unset -v HPCSWEEP_SLOT_FD HPCSWEEP_GPUS_FD
}

hpcsweep_tell() { # the supervisor, which reads it when the child has ended
  printf '%s %s\n' "$1" "${2-}" >&"$hpcsweep_pipe"
}

hpcsweep_make_inputs() {
  local start=$PWD
  declare -F hpcsweep_files >/dev/null || return 0
  builtin cd -- "$hpcsweep_task_dir" && hpcsweep_files || return
  builtin cd -- "$start" || return
}

hpcsweep_enter_environment() {
  local job=${HPCSWEEP_JOB-} element=${HPCSWEEP_ELEMENT-}
  # A user's own job script may have read it at its top, so that what the script loads lies over it.
  if [[ -z ${hpcsweep_environment_loaded-} && -e $hpcsweep_run_dir/environment.sh ]]; then
    # shellcheck disable=SC1091 # made at submit
    . "$hpcsweep_run_dir/environment.sh"
    hpcsweep_plain_shell
    hpcsweep_environment_loaded=1
  fi
  [[ -z $job ]] || export HPCSWEEP_JOB=$job HPCSWEEP_ELEMENT=$element
  hpcsweep_export_facts
}

hpcsweep_export_facts() {
  export HPCSWEEP_RUN=$hpcsweep_run HPCSWEEP_RUN_DIR=$hpcsweep_run_dir HPCSWEEP_TASK=$hpcsweep_task \
    HPCSWEEP_TASK_DIR=$hpcsweep_task_dir HPCSWEEP_ATTEMPT=$hpcsweep_attempt HPCSWEEP_RESTART=$hpcsweep_restart \
    HPCSWEEP_POINT=${hpcsweep_point-} PYTHONUNBUFFERED=1
  hpcsweep_export_master
  [[ -z ${hpcsweep_slot-} ]] || hpcsweep_export_place
  hpcsweep_export_gpus
  hpcsweep_export_ending
}

hpcsweep_export_master() { # where the ranks of one task meet
  local nodes=() character index sum=0 whose=$hpcsweep_job${hpcsweep_slot:+.$hpcsweep_slot}
  if [[ -z ${HPCSWEEP_MASTER_ADDR-} ]]; then
    HPCSWEEP_MASTER_ADDR=localhost
    if [[ $hpcsweep_scheduler == slurm && ${SLURM_JOB_NUM_NODES-1} -gt 1 ]]; then
      mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
      HPCSWEEP_MASTER_ADDR=${nodes[0]-$hpcsweep_host}
    elif [[ -r ${PBS_NODEFILE-} ]]; then
      mapfile -t nodes < <(uniq "$PBS_NODEFILE")
      ((${#nodes[@]} < 2)) || HPCSWEEP_MASTER_ADDR=${nodes[0]}
    fi
  fi
  # The same on all nodes, and another one for each job, element and place on this one.
  for ((index = 0; index < ${#whose}; index++)); do
    printf -v character '%d' "'${whose:index:1}"
    sum=$(((sum * 31 + character) % 50000))
  done
  export HPCSWEEP_MASTER_ADDR HPCSWEEP_MASTER_PORT=$((10000 + sum))
}

hpcsweep_run_program() { # does not return
  local prologue answer='exit 143'
  exec {hpcsweep_pipe}<&-
  [[ -z ${hpcsweep_stdin+set} ]] || exec < <(printf %s "$hpcsweep_stdin")
  if [[ -z ${hpcsweep_command+set} ]]; then
    exec -- "${hpcsweep_argv[@]}"
    exit # not reached: exec has ended this shell with 126 or 127
  fi
  # A signal is sent to the whole group, and this shell must not go before the program that it waits for.
  # Nor must it say 143 for a program that has saved.
  [[ -z ${hpcsweep_signal-} ]] || answer="[[ \\\$? != $hpcsweep_saved ]] || exit $hpcsweep_saved; exit 143"
  prologue="trap \"$answer\" TERM; trap : INT HUP USR1 USR2; set -eo pipefail"
  # shellcheck disable=SC2016 # the command's own text is looked at
  if [[ $hpcsweep_command == *'$$'* || $hpcsweep_command == *'${$'* ]] && ((${#hpcsweep_command} < 100000)); then
    # $$ means the shell that runs the command, and here it would be the supervisor: kill -9 $$ must not end that.
    hpcsweep_export_functions
    exec "$BASH" -c "$prologue"$'\n'"$hpcsweep_command"
  fi
  eval "$prologue"
  eval "$hpcsweep_command"
  exit
}

hpcsweep_export_functions() { # those that setup made, so that a bash of its own knows them too
  local name
  while read -r name; do
    [[ $name == hpcsweep_* ]] || export -f -- "${name?}"
  done < <(compgen -A function)
}

# ---- while it runs ----

hpcsweep_watch() {
  # Wakes the supervisor when it has to do something, and only then: every signal is a chance for bash to lose the
  # child's status. Its input is a pipe that the supervisor holds open, so that it waits without a process and ends with
  # the supervisor, whatever ends that; a line in it is a new deadline, the child's number, or the supervisor's farewell.
  local deadline='' ends_at='' signal_at=$hpcsweep_signal_at child='' next line now moment is_due
  trap '' TERM INT HUP USR1 USR2 ALRM
  exec {hpcsweep_token_fd}<&- {hpcsweep_pipe}<&-
  hpcsweep_leave_places
  [[ ${hpcsweep_enforce_time_limit-0} != 1 ]] || ends_at=$hpcsweep_ends_at
  while :; do
    next=${hpcsweep_watch_s:-45}
    hpcsweep_now now
    for moment in $deadline $ends_at $signal_at; do
      # A moment that has passed is told every second, until its consequences are there.
      if ((moment - now < 1)); then
        next=1
      elif ((moment - now < ${next%.*})); then
        next=$((moment - now))
      fi
    done
    hpcsweep_await_line "$next"
    case $? in
      0)
        case $line in
          child\ *) child=${line#* } ;;
          signal\ *) signal_at=${line#* } ;;
          over) exit ;;
          *) deadline=$line ;;
        esac
        ;;
      1) break ;;
      *)
        hpcsweep_now now
        is_due=0
        for moment in $deadline $ends_at $signal_at; do
          ((now < moment)) || is_due=1
        done
        if ((is_due)) || hpcsweep_is_token_gone || { [[ -n ${hpcsweep_slot-} ]] && hpcsweep_is_called_off; }; then kill -ALRM "$hpcsweep_self" 2>/dev/null || break; fi
        ;;
    esac
  done
  # The supervisor was killed. What its program still does counts for nothing, and a restart may be on its way.
  [[ -z $child ]] || kill -KILL -- "-$child" 2>/dev/null
}

hpcsweep_on_alarm() {
  local now
  ((hpcsweep_interrupts += 1))
  [[ $hpcsweep_phase != packing ]] || hpcsweep_end_pack
  [[ $hpcsweep_phase == running ]] || return 0
  hpcsweep_now now
  hpcsweep_signal_when_due "$now"
  if [[ -n $hpcsweep_deadline ]]; then
    ((now < hpcsweep_deadline)) || kill -KILL -- "-$hpcsweep_pid" 2>/dev/null
  elif [[ ${hpcsweep_enforce_time_limit-0} == 1 && -n $hpcsweep_ends_at ]] && ((now >= hpcsweep_ends_at)); then
    hpcsweep_verdict=timeout hpcsweep_verdict_at=$now
    hpcsweep_end_child
  elif hpcsweep_is_token_gone; then
    hpcsweep_verdict=late hpcsweep_verdict_at=$now
    hpcsweep_end_child
  elif [[ -n ${hpcsweep_slot-} && -z $hpcsweep_verdict ]] && hpcsweep_is_called_off; then
    hpcsweep_on_term
  fi
  return 0
}

hpcsweep_on_term() { # rule 4
  ((hpcsweep_interrupts += 1))
  if [[ $hpcsweep_phase == packing ]]; then
    hpcsweep_verdict=${hpcsweep_verdict:-interrupted}
    hpcsweep_pass_to_keeper TERM
    return 0
  fi
  if [[ $hpcsweep_phase == ending || $hpcsweep_verdict =~ ^(cancelled|timeout|late)$ ]]; then return 0; fi
  hpcsweep_now hpcsweep_verdict_at
  hpcsweep_verdict=interrupted
  if [[ -n ${hpcsweep_name-} ]] && hpcsweep_is_cancelled; then
    hpcsweep_verdict=cancelled
  elif hpcsweep_is_time_up "$hpcsweep_verdict_at"; then
    hpcsweep_verdict=timeout
  fi
  [[ $hpcsweep_phase != running ]] || hpcsweep_end_child
  return 0
}

hpcsweep_is_time_up() { # now: by our own clock; the scheduler's started a little earlier
  local margin=10
  [[ $hpcsweep_scheduler != local ]] || margin=0
  [[ -n $hpcsweep_ends_at ]] && (($1 >= hpcsweep_ends_at - margin))
}

hpcsweep_pass_on() { # the signal $1: the program's business, not ours
  ((hpcsweep_interrupts += 1))
  [[ $hpcsweep_phase != packing ]] || hpcsweep_pass_to_keeper "$1"
  [[ $hpcsweep_phase == running ]] || return 0
  [[ $1 != "${hpcsweep_signal-}" ]] || hpcsweep_is_signal_new || return 0
  kill -s "$1" -- "-$hpcsweep_pid" 2>/dev/null
  return 0
}

hpcsweep_end_child() {
  local now grace
  hpcsweep_lets_save && return
  kill -TERM -- "-$hpcsweep_pid" 2>/dev/null
  kill -CONT -- "-$hpcsweep_pid" 2>/dev/null
  # An interrupted program has all the time that the scheduler gives it.
  [[ $hpcsweep_verdict != interrupted ]] || return 0
  # The outcome has to be written before the scheduler's own KILL; what does not count any more shall not write for long.
  grace=$((${hpcsweep_kill_wait_s:-30} - 2))
  [[ $hpcsweep_verdict != late || $grace -lt 5 ]] || grace=5
  hpcsweep_now now
  hpcsweep_deadline=$((now + (grace > 1 ? grace : 1)))
  printf '%s\n' "$hpcsweep_deadline" >&"$hpcsweep_watch_fd"
}

hpcsweep_drain() { # the first child has ended; others of its group may still be writing their checkpoints
  local now until=$hpcsweep_deadline
  [[ -n $until ]] || until=$((hpcsweep_verdict_at + ${hpcsweep_kill_wait_s:-30}))
  while kill -0 -- "-$hpcsweep_pid" 2>/dev/null; do
    hpcsweep_now now
    if ((now >= until)); then
      [[ -z $hpcsweep_deadline ]] || kill -KILL -- "-$hpcsweep_pid" 2>/dev/null
      return 0
    fi
    hpcsweep_pause 0.1
  done
}

hpcsweep_conclude() {
  local line word value at is_started=0 broken='' staged='' program=$hpcsweep_child_status recorder='' now
  printf 'end\n' >&"$hpcsweep_pipe"
  while read -r word value <&"$hpcsweep_pipe"; do
    hpcsweep_messages+="$word $value"$'\n'
    [[ $word != end ]] || break
  done
  hpcsweep_split $'\n' "$hpcsweep_messages"
  for line in "${hpcsweep_words[@]}"; do
    word=${line%% *} value=${line#* } at=''
    [[ $value != *' '* ]] || at=${value#* } value=${value%% *}
    case $word in
      started) is_started=1 ;;
      broken) broken=$value ;;
      staged) staged=$value ;;
      recording) recorder="$value $at" ;;
      program)
        program=$value
        # A signal that came during the teardown ended no program.
        ((at >= ${hpcsweep_verdict_at:-$at})) || hpcsweep_verdict=''
        ;;
    esac
  done
  if [[ $hpcsweep_verdict == interrupted ]]; then
    hpcsweep_now now
    if hpcsweep_is_cancelled; then
      hpcsweep_verdict=cancelled
    elif ((now > hpcsweep_verdict_at + ${hpcsweep_kill_wait_s:-30} + 30)); then
      hpcsweep_verdict='' # it outlived what TERM announces: this was no ending
    fi
  fi
  hpcsweep_weigh_signal "$program"
  hpcsweep_weigh_stage "$program" "$staged" "$is_started"
  case $hpcsweep_verdict in
    saved) hpcsweep_go_on ;;
    cancelled) hpcsweep_finish cancelled 0 143 ;;
    timeout) hpcsweep_finish timeout 0 143 ;;
    late)
      hpcsweep_status=1
      hpcsweep_leave_late ended "$program"
      ;;
    interrupted) hpcsweep_status=143 ;;
    *)
      if [[ -n $broken ]]; then
        hpcsweep_finish broken "$broken" 1
      elif [[ $program == unknown ]]; then
        hpcsweep_status=1
        hpcsweep_say "task $hpcsweep_task: it ended at the moment of a signal, and bash has lost how; its token stays"
      elif ((!is_started)); then
        hpcsweep_finish setup "$hpcsweep_child_status" 1
      elif ((program > 128 && program <= 192)); then
        hpcsweep_finish sig $((program - 128)) "$program"
      else
        hpcsweep_finish "done" "$program" "$program"
      fi
      ;;
  esac
  # Not before: whatever kills us while we wait, the task's own end is recorded.
  # shellcheck disable=SC2086 # two words
  [[ -z $recorder ]] || hpcsweep_await_record $recorder
}
