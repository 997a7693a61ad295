# shellcheck shell=bash disable=SC2034,SC2154,SC2317,SC2016,SC1003 # data, and read by others
blocks() {
if ((hpcsweep_position == 0)); then
hpcsweep_task=41 hpcsweep_attempt=2 hpcsweep_point=8f3a2b1c00aa11bb
hpcsweep_params='{"layers":[64,64],"lr":0.1,"note":"it'\''s\n$(touch x) é"}'
hpcsweep_command='echo 0.1 |
  tee '\''it'\''\'\'''\''s
$(touch x) é'\''.txt'
hpcsweep_env() { export HPCSWEEP_PARAM_lr='0.1' HPCSWEEP_PARAM_layers='[64,64]' HPCSWEEP_PARAM_note='it'\''s
$(touch x) é' OMP_NUM_THREADS='4' WHO='it'\''s me'; unset -v GONE; }
hpcsweep_files() { hpcsweep_write_file 'deck/0.1.nml' 'lr = 0.1
layers = [64,64]
' && hpcsweep_link '/home/it'\''s me/data' 'data' && hpcsweep_link '/abs/other' 'other'; }
hpcsweep_stdin='it'\''s
$(touch x) é
'
return 0
fi
if ((hpcsweep_position == 1)); then
hpcsweep_task=42 hpcsweep_attempt=2 hpcsweep_point=1111111111111111
hpcsweep_params='{"layers":[],"lr":-1e-05,"note":""}'
hpcsweep_command='echo -1e-05 |
  tee '\'''\''.txt'
hpcsweep_env() { export HPCSWEEP_PARAM_lr='-1e-05' HPCSWEEP_PARAM_layers='[]' HPCSWEEP_PARAM_note='' OMP_NUM_THREADS='4' WHO='it'\''s me'; unset -v GONE; }
hpcsweep_files() { hpcsweep_write_file 'deck/-1e-05.nml' 'lr = -1e-05
layers = []
' && hpcsweep_link '/home/it'\''s me/data' 'data' && hpcsweep_link '/abs/other' 'other'; }
hpcsweep_stdin='
'
return 0
fi
}
