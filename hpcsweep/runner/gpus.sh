# shellcheck shell=bash disable=SC2154 # the header of the script, and runner.sh, assign what is not assigned here
# The GPUs that an element was granted, and each task's share of them. Only functions.
#
# What was granted is a list of names, kept as they are: numbers, UUIDs, MIG instances. A task's own are those of its place
# (slot): whole ones, a group, or one that it shares. The scheduler's variables are read, the first that is set.

hpcsweep_find_gpus() { # -> hpcsweep_gpus, hpcsweep_gpu_lists (variable -> list); hpcsweep_gpu_problem when it will not do
  local name text wanted
  hpcsweep_gpus=() hpcsweep_gpu_problem=''
  unset -v hpcsweep_gpu_lists
  declare -gA hpcsweep_gpu_lists=()
  [[ -n ${hpcsweep_gpus_per_task-}${hpcsweep_tasks_per_gpu-} ]] || return 0
  hpcsweep_list_gpus
  wanted=$((${hpcsweep_parallel:-1} * ${hpcsweep_gpus_per_task:-1}))
  [[ -z ${hpcsweep_tasks_per_gpu-} ]] || wanted=$(((${hpcsweep_parallel:-1} + hpcsweep_tasks_per_gpu - 1) / hpcsweep_tasks_per_gpu))
  if [[ -z ${hpcsweep_gpu_source-} ]]; then
    # Nobody says anything of GPUs: one task takes what it finds, as if it were alone; several would all take the same.
    ((${hpcsweep_parallel:-1} == 1)) || hpcsweep_gpu_problem="no variable says which GPUs were granted, so $hpcsweep_parallel tasks cannot share them out: set gpus_from"
  elif ((${#hpcsweep_gpus[@]} < wanted)); then
    text=${hpcsweep_gpus[*]}
    hpcsweep_gpu_problem="$wanted GPUs were asked for, and ${#hpcsweep_gpus[@]} were granted ($hpcsweep_gpu_source: ${text:-none})"
  else
    # All that says what was granted says it of each task then.
    for name in CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ZE_AFFINITY_MASK; do
      [[ -z ${!name-} ]] || hpcsweep_gpu_lists[$name]=${!name}
    done
    if [[ -z ${hpcsweep_gpu_lists[$hpcsweep_gpu_source]-} ]]; then # it is said to us alone: programs have to hear it
      name=CUDA_VISIBLE_DEVICES
      [[ -n ${CUDA_VISIBLE_DEVICES-} || -z ${HIP_VISIBLE_DEVICES-} ]] || name=HIP_VISIBLE_DEVICES
      [[ -n ${CUDA_VISIBLE_DEVICES-} || -z ${ROCR_VISIBLE_DEVICES-} ]] || name=ROCR_VISIBLE_DEVICES
      hpcsweep_gpu_lists[$name]=''
    fi
  fi
  [[ -z $hpcsweep_gpu_problem ]] || hpcsweep_say "$hpcsweep_gpu_problem; nothing was run"
}

hpcsweep_list_gpus() { # what was granted -> hpcsweep_gpus; what says so -> hpcsweep_gpu_source ('': nothing does)
  local name text=''
  hpcsweep_gpu_source=''
  if [[ -n ${HPCSWEEP_GPU_GROUPS-} ]]; then # this machine's own queue: 0;1,2
    hpcsweep_gpu_source=HPCSWEEP_GPU_GROUPS
    hpcsweep_split ';' "$HPCSWEEP_GPU_GROUPS"
    hpcsweep_gpus=("${hpcsweep_words[@]}")
    return
  elif ((${#hpcsweep_gpu_groups[@]})); then
    hpcsweep_gpu_source=gpus_from hpcsweep_gpus=("${hpcsweep_gpu_groups[@]}")
    return
  elif [[ ${hpcsweep_gpus_from-} == nvidia-smi ]]; then
    hpcsweep_gpu_source=nvidia-smi
    mapfile -t hpcsweep_gpus < <(nvidia-smi --query-gpu=uuid --format=csv,noheader 2>/dev/null)
    return
  fi
  for name in ${hpcsweep_gpus_from-} CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES SLURM_JOB_GPUS SLURM_STEP_GPUS; do
    [[ -n ${!name+set} ]] || continue
    hpcsweep_gpu_source=$name text=${!name}
    break
  done
  if [[ -z $hpcsweep_gpu_source && -r ${PBS_GPUFILE-} ]]; then
    hpcsweep_gpu_source=PBS_GPUFILE
    hpcsweep_read_gpu_file
    return
  fi
  [[ $text != NoDevFiles && $text != -1 ]] || text='' # two ways to say none
  hpcsweep_split_gpus "$text"
}

hpcsweep_split_gpus() { # 0,1 or GPU-5ebe,GPU-77aa or 0-3 -> hpcsweep_gpus
  local part number
  hpcsweep_gpus=()
  hpcsweep_split , "$1"
  for part in "${hpcsweep_words[@]}"; do
    part=${part//[[:space:]]/}
    if [[ $part =~ ^([0-9]+)-([0-9]+)$ ]]; then
      for ((number = BASH_REMATCH[1]; number <= BASH_REMATCH[2]; number++)); do hpcsweep_gpus+=("$number"); done
    elif [[ -n $part ]]; then
      hpcsweep_gpus+=("$part")
    fi
  done
}

hpcsweep_read_gpu_file() { # Torque names what it has granted in a file, a line HOST-gpuN for each -> hpcsweep_gpus
  local line first='' all=() is_one_host=1
  hpcsweep_gpus=()
  while read -r line; do
    [[ $line =~ ^(.*)-gpu([0-9]+)$ ]] || continue
    first=${first:-${BASH_REMATCH[1]}}
    [[ ${BASH_REMATCH[1]} == "$first" ]] || is_one_host=0
    [[ ${BASH_REMATCH[1]%%.*} != "${hpcsweep_host%%.*}" ]] || hpcsweep_gpus+=("${BASH_REMATCH[2]}")
    all+=("${BASH_REMATCH[2]}")
  done <"$PBS_GPUFILE"
  ((!is_one_host)) || hpcsweep_gpus=("${all[@]}") # whatever the node is called there
}

hpcsweep_export_gpus() { # the share of the task's own place
  unset -v HPCSWEEP_GPU_GROUPS
  local name first many=${hpcsweep_gpus_per_task:-1} slot=${hpcsweep_slot:-0}
  # One task that has all of its element's GPUs finds them as the scheduler named them.
  if [[ -z ${hpcsweep_gpu_source-} ]] || ((${hpcsweep_tasks_per_element:-1} == 1 && ${#hpcsweep_gpu_groups[@]} == 0)); then
    [[ ${hpcsweep_gpu_source-} != PBS_GPUFILE ]] || hpcsweep_export_list CUDA_VISIBLE_DEVICES "${hpcsweep_gpus[@]}"
    return 0
  fi
  first=$((slot * many))
  [[ -z ${hpcsweep_tasks_per_gpu-} ]] || first=$((slot / hpcsweep_tasks_per_gpu))
  [[ -z ${HPCSWEEP_GPUS-} ]] || hpcsweep_export_list HPCSWEEP_GPUS "${hpcsweep_gpus[@]:first:many}"
  for name in "${!hpcsweep_gpu_lists[@]}"; do
    if [[ $name == "$hpcsweep_gpu_source" || -z ${hpcsweep_gpu_lists[$name]} ]]; then
      hpcsweep_export_list "$name" "${hpcsweep_gpus[@]:first:many}"
    else # it may name them otherwise, in the same order
      hpcsweep_export_from_list "$name" "${hpcsweep_gpu_lists[$name]}"
    fi
  done
  [[ -z ${SLURM_JOB_GPUS+set} ]] || hpcsweep_export_from_list SLURM_JOB_GPUS "$SLURM_JOB_GPUS"
  [[ -z ${SLURM_STEP_GPUS+set} ]] || hpcsweep_export_from_list SLURM_STEP_GPUS "$SLURM_STEP_GPUS"
}

hpcsweep_export_list() { # NAME and the devices of it
  local IFS=,
  export "$1=${*:2}"
}

hpcsweep_export_from_list() { # NAME and a list that has as many devices as were granted: those of the task's place
  local hpcsweep_gpus
  hpcsweep_split_gpus "$2"
  ((${#hpcsweep_gpus[@]} < first + many)) || hpcsweep_export_list "$1" "${hpcsweep_gpus[@]:first:many}"
}
