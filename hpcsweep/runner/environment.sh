# shellcheck shell=bash disable=SC2154 # the header of the script, and runner.sh, assign what is not assigned here
# What a task finds after `setup`, recorded once a run, by one task, beside its program. Only functions.
#
# The record is the folder `environment` in the run's folder. It is made under another name and renamed, so that it is whole
# when it is there. Who makes the file .environment.0 makes the record; when nothing came of that within five minutes,
# .environment.1 is tried, and so on. No other task starts a process for it.
#
# It is made in a process group of its own, by a process that is nobody's child: the program, which may wait for all its
# children or signal its whole group, knows nothing of it. Of the two, the record is what has to go when memory is short.

hpcsweep_record_environment() { # in the task's own shell, after setup
  local folder number
  [[ ! -e $hpcsweep_run_dir/environment ]] && hpcsweep_claim_record || return 0
  folder=$hpcsweep_run_dir/.environment.$number.partial
  hpcsweep_tool mkdir -- "$folder" 2>/dev/null || return 0
  (
    set -m
    hpcsweep_make_record "$folder" &
    hpcsweep_tell recording "$! $number"
  )
}

hpcsweep_claim_record() { # success: the record is ours to make, under this number -> number
  local claim since now status
  hpcsweep_now now
  for number in 0 1 2 3; do
    claim=$hpcsweep_run_dir/.environment.$number
    if [[ ! -e $claim ]]; then
      set -C
      { printf '%s\n' "$now" >"$claim"; } 2>/dev/null
      status=$?
      set +C
      return "$status"
    fi
    since=''
    { read -r since <"$claim"; } 2>/dev/null
    [[ $since =~ ^[0-9]+$ ]] && ((now - since > 300)) || return 1
  done
  return 1
}

hpcsweep_make_record() { # FOLDER, which is renamed when all is in it
  local folder=$1 text conda=''
  exec </dev/null >/dev/null 2>&1 {hpcsweep_pipe}<&-
  trap 'hpcsweep_tool rm -rf -- "$folder"; exit 1' TERM
  trap '' INT HUP
  { printf '1000\n' >/proc/self/oom_score_adj; } 2>/dev/null
  text=$(hpcsweep_describe_environment && hpcsweep_describe_python "$folder")
  [[ ! -d ${CONDA_PREFIX-}/conda-meta ]] || conda=$(hpcsweep_list_conda "$CONDA_PREFIX/conda-meta")
  # Each text in one write whose success is known: of a full disk comes no half of a record.
  if [[ ! -e $folder/packages.txt.part ]] && printf '%s\n' "$text" >"$folder/task.txt" \
    && { [[ -z $conda ]] || printf '%s\n' "$conda" >"$folder/conda.txt"; }; then
    hpcsweep_tool mv -nT -- "$folder" "$hpcsweep_run_dir/environment"
  fi
  [[ ! -e $folder ]] || hpcsweep_tool rm -rf -- "$folder"
  exit
}

hpcsweep_fact() { # NAME VALUE; without a value nothing
  [[ -z ${2-} ]] || printf '%s: %s\n' "$1" "${2//[$'\n\r']/ }"
}

hpcsweep_describe_environment() {
  local line key value os='' cpu='' memory='' system
  hpcsweep_fact task "$hpcsweep_task"
  hpcsweep_fact attempt "$hpcsweep_attempt"
  hpcsweep_fact job "$hpcsweep_job"
  hpcsweep_fact host "$hpcsweep_host"
  printf -v line '%(%Y-%m-%dT%H:%M:%S%z)T' -1
  hpcsweep_fact time "$line"
  { read -r system </proc/sys/kernel/osrelease; } 2>/dev/null
  hpcsweep_fact system "Linux $system ${HOSTTYPE-}"
  while IFS='=' read -r key value; do
    [[ $key != PRETTY_NAME ]] || os=${value//\"/}
  done </etc/os-release
  hpcsweep_fact os "$os"
  while IFS=: read -r key value; do
    if [[ $key == 'model name'* ]]; then
      cpu=${value# }
      break
    fi
  done </proc/cpuinfo
  hpcsweep_fact cpu "$cpu"
  hpcsweep_fact cpus "$(hpcsweep_tool nproc)"
  read -r key memory value </proc/meminfo
  hpcsweep_fact node_memory "$memory $value"
  if command -v nvidia-smi >/dev/null; then
    while IFS= read -r line; do
      hpcsweep_fact gpu "$line"
    done < <(hpcsweep_tool timeout --foreground 10 nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader)
  fi
  hpcsweep_fact cuda_visible_devices "${CUDA_VISIBLE_DEVICES-}"
  hpcsweep_fact cuda_home "${CUDA_HOME-${CUDA_PATH-}}"
  hpcsweep_fact modules "${LOADEDMODULES-}"
  hpcsweep_fact conda_prefix "${CONDA_PREFIX-}"
  hpcsweep_fact virtual_env "${VIRTUAL_ENV-}"
  if declare -F hpcsweep_contain >/dev/null; then
    hpcsweep_fact container 'yes: python and packages here are those outside of it'
  fi
  return 0
}

hpcsweep_find_python() { # the one that the command names, else the first that there is
  local text=${hpcsweep_command-${hpcsweep_argv[*]-}}
  if [[ $text =~ (^|[[:space:]])([^[:space:]\'\"=]*/)?(python[0-9.]*)([[:space:]]|$) ]]; then
    type -P -- "${BASH_REMATCH[2]}${BASH_REMATCH[3]}" && return
  fi
  type -P python3 || type -P python
}

hpcsweep_describe_python() { # FOLDER for packages.txt; needs nothing but a python, of whatever age
  local python code
  python=$(hpcsweep_find_python) || return
  # What lies in the working folder is the program's own, and is not imported.
  code='
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", ".")]
print("python: " + sys.executable)
print("python_version: " + " ".join(sys.version.split()))
print("python_prefix: " + sys.prefix)
sys.stdout.flush()
import io, json, re
from importlib.metadata import distributions
packages = {}
for found in distributions():
    try:
        name, version = found.metadata["Name"], found.version
        origin = json.loads(found.read_text("direct_url.json") or "{}")
    except Exception:
        continue
    if not name or re.sub("[-_.]+", "-", name).lower() in packages:
        continue
    line = name + "==" + str(version)
    if origin.get("url"):
        revision = origin.get("vcs_info", {}).get("commit_id")
        editable = origin.get("dir_info", {}).get("editable")
        url = re.sub("//[^/]*@", "//", origin["url"])
        line += "  # " + url + ("@" + revision if revision else "") + (" (editable)" if editable else "")
    packages[re.sub("[-_.]+", "-", name).lower()] = line
with io.open(sys.argv[1] + ".part", "w", encoding="utf-8", errors="replace") as out:
    out.write("".join(packages[name] + "\n" for name in sorted(packages)))
import os
os.rename(sys.argv[1] + ".part", sys.argv[1])
'
  PYTHONDONTWRITEBYTECODE=1 PYTHONINSPECT='' command timeout --foreground 60 nice -n 10 "$python" -W ignore -c "$code" "$1/packages.txt"
}

hpcsweep_list_conda() { # FOLDER: NAME-VERSION-BUILD of each package
  local path
  for path in "$1"/*.json; do
    [[ ! -e $path ]] || { path=${path##*/} && printf '%s\n' "${path%.json}"; }
  done
}

hpcsweep_await_record() { # PID NUMBER: the program has ended; the record may take a few seconds more, if it is not done yet
  local now until before=$hpcsweep_interrupts folder=$hpcsweep_run_dir/.environment.$2.partial
  hpcsweep_now now
  until=$((now + ${hpcsweep_record_wait_s:-10}))
  while [[ -e $folder ]] && kill -0 -- "-$1" 2>/dev/null; do
    hpcsweep_now now
    if [[ -n $hpcsweep_verdict ]] || ((now >= until || before != hpcsweep_interrupts)); then
      kill -TERM -- "-$1" 2>/dev/null
      return 0
    fi
    hpcsweep_pause 0.05
  done
}
