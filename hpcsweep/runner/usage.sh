# shellcheck shell=bash disable=SC2154 # the header of the script, and runner.sh, assign what is not assigned here
# What a task used: CPU time and memory. Only functions, and no process but the one that opens the pipe.
#
# All that is learned on the way goes into one pipe, which is read when the outcome stands: nobody waits for anybody, no
# signal is sent, and nothing that is missing or odd here can touch the outcome.

hpcsweep_begin_usage() { # before there is a child
  exec {hpcsweep_usage_fd}<> <(:)
  times >&"$hpcsweep_usage_fd"
}

hpcsweep_await_line() { # as `read -t $1`, into the watcher's `line`; looks meanwhile how much memory the child has
  local left_s=$1 pause now status
  while [[ -n $child ]]; do
    hpcsweep_now now
    [[ -n ${hpcsweep_sample_at-} ]] || hpcsweep_sample_at=$((now + 1)) hpcsweep_sample_step=1 hpcsweep_peak_kib=0
    if ((now >= hpcsweep_sample_at)); then
      hpcsweep_sample "$child"
      # Programs grow in their first moments; afterwards a look now and then will do.
      ((hpcsweep_sample_step = hpcsweep_sample_step < 15 ? 2 * hpcsweep_sample_step : 30))
      hpcsweep_sample_at=$((now + hpcsweep_sample_step))
    fi
    pause=$((hpcsweep_sample_at - now))
    ((pause < ${left_s%.*}0 / 10)) || break
    IFS= read -r -t "$pause" line && return
    status=$?
    ((status > 128)) || return "$status"
    left_s=$((${left_s%.*} - pause))
  done
  IFS= read -r -t "$left_s" line
}

hpcsweep_sample() { # the process $1 and all below it: the most that each of them has had, in sum
  local processes=("$1") process index text file children sum=0
  for ((index = 0; index < ${#processes[@]}; index++)); do
    process=${processes[index]} text=''
    { IFS= read -r -d '' text <"/proc/$process/status"; } 2>/dev/null
    [[ $text =~ VmHWM:[[:blank:]]*([0-9]+) ]] || continue
    ((sum += BASH_REMATCH[1]))
    for file in "/proc/$process/task/"*/children; do # each thread has its own
      children=''
      { read -r children <"$file"; } 2>/dev/null
      # shellcheck disable=SC2206 # numbers
      processes+=($children)
    done
  done
  # Only what is news: the pipe, which nobody empties before the end, shall never be full.
  ((sum * 20 > hpcsweep_peak_kib * 21)) || return 0
  hpcsweep_peak_kib=$sum
  printf 'peak %s\n' "$sum" >&"$hpcsweep_usage_fd"
}

hpcsweep_record_usage() { # one more line in the outcome's file; the outcome stands already
  local line text='' cpu_ms=() peak_kib=0
  local four='^([0-9]+)m([0-9]+)[.,]([0-9]{3})s ([0-9]+)m([0-9]+)[.,]([0-9]{3})s$'
  [[ -n ${hpcsweep_usage_fd-} ]] || return 0
  times >&"$hpcsweep_usage_fd"
  printf 'end\n' >&"$hpcsweep_usage_fd"
  while IFS= read -r line <&"$hpcsweep_usage_fd" && [[ $line != end ]]; do
    if [[ $line =~ $four ]]; then
      cpu_ms+=("$(((BASH_REMATCH[1] + BASH_REMATCH[4]) * 60000 + (10#${BASH_REMATCH[2]} + 10#${BASH_REMATCH[5]}) * 1000 + 10#${BASH_REMATCH[3]} + 10#${BASH_REMATCH[6]}))")
    elif [[ $line =~ ^peak\ ([0-9]+)$ ]]; then
      peak_kib=${BASH_REMATCH[1]}
    fi
  done
  exec {hpcsweep_usage_fd}>&-
  unset -v hpcsweep_usage_fd
  if ((${#cpu_ms[@]} == 4)); then # the shell's own and its children's, before and after
    printf -v text ' cpu_s=%d.%03d' "$(((cpu_ms[3] - cpu_ms[1]) / 1000))" "$(((cpu_ms[3] - cpu_ms[1]) % 1000))"
  fi
  if hpcsweep_read_job_peak; then
    text+=" peak_bytes=$hpcsweep_job_peak from=cgroup"
    ((peak_kib == 0)) || text+=" rss_bytes=$((peak_kib * 1024))"
  elif ((peak_kib)); then
    text+=" peak_bytes=$((peak_kib * 1024)) from=proc"
  fi
  [[ -z $text ]] || { printf 'usage%s\n' "$text" >>"/proc/self/fd/$hpcsweep_token_fd"; } 2>/dev/null
}

hpcsweep_read_job_peak() { # -> hpcsweep_job_peak, bytes: the kernel's own count, where the task is alone in its job's cgroup
  local line path controllers name root file own=''
  hpcsweep_job_peak=''
  [[ -z ${hpcsweep_slot-} ]] || return
  case $hpcsweep_scheduler in
    local) return 1 ;; # its tasks may all be in one job
    pbs | torque) own=${PBS_JOBID-} ;;
  esac
  [[ -n $own ]] || own=${SLURM_JOB_ID:+job_$SLURM_JOB_ID} # of Slurm's own qsub, too
  [[ -n $own ]] || return
  while IFS= read -r line; do
    line=${line#*:} path=${line#*:} controllers=${line%%:*}
    case ,$controllers, in
      ,,) root=/sys/fs/cgroup name=memory.peak ;;
      *,memory,*) root=/sys/fs/cgroup/memory name=memory.max_usage_in_bytes ;;
      *) continue ;;
    esac
    path+=/
    [[ $path == *"/$own/"* ]] || continue
    file=$root${path%%"/$own/"*}/$own/$name
    { read -r hpcsweep_job_peak <"$file"; } 2>/dev/null
    if [[ $hpcsweep_job_peak =~ ^[1-9][0-9]*$ ]]; then return 0; fi
  done </proc/self/cgroup
  return 1
}
