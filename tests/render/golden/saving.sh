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
hpcsweep_submit_dir='/home/it'\''s me'
hpcsweep_signal='USR1'
hpcsweep_positions=2
hpcsweep_tasks_per_element=1
hpcsweep_chunk_size=64
hpcsweep_time_limit_s=7200
hpcsweep_enforce_time_limit=0
hpcsweep_kill_wait_s=30
hpcsweep_total=2
hpcsweep_max_failures=
hpcsweep_most_continuations=20
hpcsweep_signal_before_s=120
hpcsweep_saved=85
hpcsweep_chunk_hashes=(
  bde3c60bc38c5ec4693298e7ade04779226b0b7d8cac4e9b02ddf8781c64a954
)

# runner/runner.sh stands here
hpcsweep_main() {
  hpcsweep_status=0
}


hpcsweep_main
exit "$hpcsweep_status"
}
