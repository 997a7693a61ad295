#!/bin/bash
#SBATCH --time=0-02:00:00
#SBATCH --mem=8192M
#SBATCH --cpus-per-task=4
#SBATCH --partition=short
# shellcheck disable=SC2034,SC2154,SC2317 # all parts find each other by name, here and in the chunks
{
hpcsweep_version='1.2.3'
hpcsweep_scheduler='slurm'
hpcsweep_run='run-03'
hpcsweep_run_uid='0f3c'
hpcsweep_run_dir='/scratch/it'\''s me/runs/run-03'
hpcsweep_tag='digits-0f3c-001'
hpcsweep_array='001'
hpcsweep_workdir='/home/it'\''s me'
hpcsweep_umask=''
hpcsweep_condition=''
hpcsweep_positions=2
hpcsweep_tasks_per_element=1
hpcsweep_chunk_size=64
hpcsweep_time_limit_s=7200
hpcsweep_enforce_time_limit=0
hpcsweep_kill_wait_s=30
hpcsweep_total=2
hpcsweep_max_failures=
hpcsweep_chunk_hashes=(
  8c78e02ace86dbf4c0897d024ced74a7f4ab23d77595dddce5e2257aecff4c77
)

# runner/runner.sh stands here
hpcsweep_main() {
  hpcsweep_status=0
}

hpcsweep_contain() { # VARIABLE... -- WORD...: the command in the container, as hpcsweep_argv
  local image='x.sif' runtime='' bind name variables=()
  local binds=("$hpcsweep_run_dir" "$hpcsweep_program_dir" "${TMPDIR:-/tmp}" '/home/it'\''s me/data:/data' /scratch)
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
    printf 'hpcsweep: the container needs %s, and it is not on %s; does setup have to load a module?\n' 'apptainer, singularity or docker' "$HOSTNAME" >&2
    exit 127
  fi
  if [[ $runtime == docker ]]; then
    hpcsweep_argv=(docker run --rm --init --interactive --user "$(id -u):$(id -g)" --workdir "$hpcsweep_program_dir" --gpus all)
    for bind in "${binds[@]}"; do
      [[ $bind == *:* ]] || bind=$bind:$bind
      hpcsweep_argv+=(--volume "$bind")
    done
    for name in "${variables[@]}" "${!HPCSWEEP_@}" "${!SLURM_@}" PYTHONUNBUFFERED TMPDIR \
      CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES; do
      hpcsweep_argv+=(--env "$name")
    done
  else
    [[ $image == /* || $image == *://* ]] || image='/home/it'\''s me'/$image
    hpcsweep_argv=("$runtime" exec --pwd "$hpcsweep_program_dir" --nv)
    for bind in "${binds[@]}"; do
      hpcsweep_argv+=(--bind "${bind//,/\\,}")
    done
  fi
  hpcsweep_argv+=("$image" "$@")
}


hpcsweep_main
exit "$hpcsweep_status"
}
