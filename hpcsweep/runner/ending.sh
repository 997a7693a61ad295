# shellcheck shell=bash disable=SC2154 # the header of the script, and runner.sh, assign what is not assigned here
# `signal:` and `on_timeout:`: a program is told before its end, and one that has saved goes on. Only functions.
#
# For one end the program is told once, as a program that is told again while it saves may die of it: by our own clock, so many
# seconds before the time limit, or when a TERM says that the job is to leave its node. Slurm may send the same signal too.
# The exit code `saved` counts only after the signal; whoever exits so without having been told has failed with that code.

hpcsweep_plan_signal() { # when the program is to be told -> hpcsweep_signal_at
  hpcsweep_signal_at='' hpcsweep_signalled='' hpcsweep_is_terminated=0 hpcsweep_is_in_time=0
  [[ -z ${hpcsweep_signal-} || -z $hpcsweep_ends_at ]] || hpcsweep_signal_at=$((hpcsweep_ends_at - hpcsweep_signal_before_s))
}

hpcsweep_export_ending() { # what the program can know of its end
  if [[ -n ${hpcsweep_signal-} ]]; then
    export HPCSWEEP_SIGNAL=$hpcsweep_signal HPCSWEEP_SAVED=$hpcsweep_saved
    [[ -z $hpcsweep_ends_at ]] || export HPCSWEEP_ENDS_AT=$hpcsweep_ends_at
  fi
  # Its value comes later, but a container is told the names before.
  ! hpcsweep_is_staged || export HPCSWEEP_STAGE_DIR=''
}

hpcsweep_wake_at() { # epoch seconds, or '' for never: the watch process wakes us for hpcsweep_signal_when_due
  hpcsweep_signal_at=$1
  printf 'signal %s\n' "$1" >&"$hpcsweep_watch_fd"
}

hpcsweep_signal_when_due() { # NOW
  [[ -n ${hpcsweep_signal_at-} ]] && (($1 >= hpcsweep_signal_at)) || return 0
  hpcsweep_wake_at ''
  case $hpcsweep_verdict in
    '') hpcsweep_signal_child limit ;;
    interrupted) hpcsweep_terminate_child ;; # it has had its time to save
  esac
}

hpcsweep_signal_child() { # WHY: `limit`, `interruption`, or `outside` for a signal that somebody else sent
  hpcsweep_signalled=$1
  kill -s "$hpcsweep_signal" -- "-$hpcsweep_pid" 2>/dev/null
  kill -CONT -- "-$hpcsweep_pid" 2>/dev/null
}

hpcsweep_terminate_child() {
  hpcsweep_is_terminated=1
  kill -TERM -- "-$hpcsweep_pid" 2>/dev/null
  kill -CONT -- "-$hpcsweep_pid" 2>/dev/null
}

hpcsweep_lets_save() { # success: an interrupted program is told by the signal it knows, and gets TERM only when it must
  local wait=${hpcsweep_kill_wait_s:-30} rest
  if [[ $hpcsweep_verdict != interrupted || -z ${hpcsweep_signal-} || $hpcsweep_signal == TERM \
    || $hpcsweep_signalled == interruption ]]; then # the last: the scheduler insists
    [[ -z ${hpcsweep_signal_at-} ]] || hpcsweep_wake_at ''
    hpcsweep_is_terminated=1
    return 1
  fi
  # One that is saving already, for its time limit, is not disturbed.
  if [[ $hpcsweep_signalled == limit ]]; then hpcsweep_signalled=interruption; else hpcsweep_signal_child interruption; fi
  rest=$((wait / 4 < 1 ? 1 : wait / 4 > 5 ? 5 : wait / 4))
  hpcsweep_wake_at $((hpcsweep_verdict_at + (wait - rest > 1 ? wait - rest : 1)))
}

hpcsweep_is_signal_new() { # the program's own signal came from outside: success when it has not been told yet
  local now
  [[ -z $hpcsweep_signalled || $hpcsweep_signalled == outside ]] || return 1
  hpcsweep_signalled=outside
  hpcsweep_now now
  # Slurm may be a minute early with the signal before the end; a clock of ours that knows no end cannot say better.
  if [[ -z $hpcsweep_ends_at ]] || ((now >= hpcsweep_ends_at - hpcsweep_signal_before_s - 90)); then
    hpcsweep_signalled=limit
    hpcsweep_wake_at ''
  fi
}

# ---- what became of it ----

hpcsweep_weigh_signal() { # PROGRAM's status: what it means after the signal -> hpcsweep_verdict
  [[ -n ${hpcsweep_signalled-} ]] || return 0
  case $hpcsweep_verdict in
    interrupted)
      # It was told, and came to its end all the same. PBS and Torque send the program a TERM of their own.
      [[ $1 != 0 || $hpcsweep_scheduler == [pt]* ]] || ((hpcsweep_is_terminated)) || hpcsweep_verdict=''
      ;;
    '' | timeout)
      if [[ $1 == "$hpcsweep_saved" ]]; then
        # Where a TERM has come as well, the scheduler is about to end the job in its own way.
        [[ -n $hpcsweep_verdict_at ]] || hpcsweep_is_in_time=1
        hpcsweep_verdict=saved
      elif [[ -z $hpcsweep_verdict && $hpcsweep_signalled == limit && $1 =~ ^[0-9]+$ ]] && (($1 > 128)) \
        && [[ $(kill -l "$1" 2>/dev/null) == "$hpcsweep_signal" ]]; then
        hpcsweep_verdict=timeout # it did not know the signal: that it died of it is its time limit's doing
      fi
      ;;
  esac
}

hpcsweep_go_on() { # the program has saved
  if hpcsweep_is_cancelled; then
    hpcsweep_finish cancelled 0 143
  elif [[ -z ${hpcsweep_most_continuations-} ]]; then
    if [[ $hpcsweep_signalled == outside ]]; then
      hpcsweep_finish "done" "$hpcsweep_saved" "$hpcsweep_saved"
    else
      hpcsweep_finish timeout "$hpcsweep_saved" 143
    fi
  else
    hpcsweep_requeue
    # shellcheck disable=SC2034 # what hpcsweep_main returns
    case $? in
      0) hpcsweep_status=143 ;; # the token stays, and is taken up by the restart
      2) hpcsweep_finish timeout 0 143 ;;
      *) hpcsweep_finish timeout "$hpcsweep_saved" 143 ;;
    esac
  fi
}

hpcsweep_requeue() { # 0: Slurm starts this element again, 1: it does not, 2: it has gone on often enough
  local line said count=0 found=''
  [[ $hpcsweep_scheduler == slurm && -z ${hpcsweep_slot-} ]] && ((hpcsweep_is_in_time)) || return 1 # others may share the element
  # In the token itself, which no other incarnation shares: how often this attempt has gone on so far.
  while IFS= read -r line; do
    [[ $line != saved\ * ]] || ((count += 1))
  done <"/proc/self/fd/$hpcsweep_token_fd"
  if ((count >= hpcsweep_most_continuations)); then
    printf 'hpcsweep: saved, but it has gone on %s times already, and does not any more (on_timeout)\n' "$count" >>"$hpcsweep_log"
    return 2
  fi
  printf -v line 'saved %(%s)T %s' -1 "$hpcsweep_restart"
  { printf '%s\n' "$line" >>"/proc/self/fd/$hpcsweep_token_fd"; } 2>/dev/null
  while IFS= read -r found && [[ $found != "$line" ]]; do :; done <"/proc/self/fd/$hpcsweep_token_fd"
  [[ $found == "$line" ]] || return 1 # a full disk: what is not counted could go on for ever
  # By the element's name: the number of the one that started last is the whole array's.
  if said=$(command timeout -k 5 30 scontrol requeue "$hpcsweep_job" 2>&1); then
    printf 'hpcsweep: saved; Slurm starts it again\n' >>"$hpcsweep_log"
    return 0
  fi
  printf 'hpcsweep: saved; not requeued in place (%s), it goes on in another attempt\n' "$said" >>"$hpcsweep_log"
  return 1
}
