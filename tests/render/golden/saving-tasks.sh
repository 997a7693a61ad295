# shellcheck shell=bash disable=SC2034,SC2154,SC2317,SC2016,SC1003 # data, and read by others
blocks() {
if ((hpcsweep_position == 0)); then
hpcsweep_task=41 hpcsweep_attempt=2 hpcsweep_point=8f3a2b1c00aa11bb
hpcsweep_params='{"layers":[64,64],"lr":0.1,"note":"it'\''s\n$(touch x) é"}'
hpcsweep_command='python train.py --lr 0.1 --layers 64 64 --note '\''it'\''\'\'''\''s
$(touch x) é'\'''
hpcsweep_env() { export HPCSWEEP_PARAM_lr='0.1' HPCSWEEP_PARAM_layers='[64,64]' HPCSWEEP_PARAM_note='it'\''s
$(touch x) é'; }
hpcsweep_files() { :; }
hpcsweep_stage_in=('data/it'\''s
$(touch x) é/*.npz' '/abs/0.1')
hpcsweep_stage_out=('*.ckpt' 'out/')
return 0
fi
if ((hpcsweep_position == 1)); then
hpcsweep_task=42 hpcsweep_attempt=2 hpcsweep_point=1111111111111111
hpcsweep_params='{"layers":[],"lr":-1e-05,"note":""}'
hpcsweep_command='python train.py --lr=-1e-05 --layers --note '\'''\'''
hpcsweep_env() { export HPCSWEEP_PARAM_lr='-1e-05' HPCSWEEP_PARAM_layers='[]' HPCSWEEP_PARAM_note=''; }
hpcsweep_files() { :; }
hpcsweep_stage_in=('data//*.npz' '/abs/-1e-05')
hpcsweep_stage_out=('*.ckpt' 'out/')
return 0
fi
}
