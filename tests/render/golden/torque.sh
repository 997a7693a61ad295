#!/bin/bash
#PBS -l nodes=1:ppn=4
#PBS -l mem=8192mb
#PBS -l walltime=02:00:00
#PBS -q short
# shellcheck disable=SC2034,SC2154,SC2317 # all parts find each other by name, here and in the chunks
{
# shellcheck disable=SC2164 # where the folder is not there, the tasks say so
cd -- '/home/it'\''s me' || cd /
umask 027
if [[ -d '/scratch/it'\''s me/runs/run-03/arrays/001' ]]; then exec >>'/scratch/it'\''s me/runs/run-03/arrays/001/elements.log' 2>&1; fi
hpcsweep_version='1.2.3'
hpcsweep_scheduler='torque'
hpcsweep_run='run-03'
hpcsweep_run_uid='0f3c'
hpcsweep_run_dir='/scratch/it'\''s me/runs/run-03'
hpcsweep_tag='digits-0f3c-001'
hpcsweep_array='001'
hpcsweep_workdir='/home/it'\''s me'
hpcsweep_umask='027'
hpcsweep_condition=''
hpcsweep_positions=2
hpcsweep_tasks_per_element=1
hpcsweep_chunk_size=64
hpcsweep_time_limit_s=7200
hpcsweep_enforce_time_limit=1
hpcsweep_kill_wait_s=30
hpcsweep_total=2
hpcsweep_max_failures=
hpcsweep_chunk_hashes=(
  2ed53aeff1de08bc470f07abeee2968161737ca86751c3ecb05517e24742dee5
)

# runner/runner.sh stands here
hpcsweep_main() {
  hpcsweep_status=0
}


hpcsweep_main
exit "$hpcsweep_status"
}
