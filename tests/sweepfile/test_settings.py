import pytest

from hpcsweep.errors import Faults, FileFaults
from hpcsweep.model import Signal, Snapshot, Stage
from hpcsweep.sweepfile.kinds import FileRef
from hpcsweep.sweepfile.settings import ARRAY_KEYS, CONTAINER_KEYS, FINALLY_KEYS, KEYS, NOT_YET, SPACE_KEYS, read_settings
from hpcsweep.sweepfile.yaml_reader import read_yaml


def read(text, names=("lr", "model.width")):
    faults = Faults()
    tree = read_yaml(text, "s.yaml", faults)
    faults.raise_any()
    values = read_settings(tree, faults, names=names)
    faults.raise_any()
    return values


def faults_of(text, names=("lr", "model.width")):
    with pytest.raises(FileFaults) as caught:
        read(text, names)
    return caught.value.faults


def fault_of(text):
    (fault,) = faults_of(text)
    return fault


def test_every_key_reads_its_example():
    values = read("""
name: optimizers
command: python train.py {{ params | flags }}
scheduler: local
template: job.sh.j2
resources: {time: 2h, memory: 8G, cpus: 4, gpus: 1, partition: short, account: lab, qos: q, nodes: 1, tmp: 1G}
slurm: {constraint: a100, exclusive: true, nice: 5}
pbs: {P: lab, l: {place: "scatter:excl"}, chunk: [bigmem]}
torque: {l: {qos: high}, chunk: a100}
array: {at_once: 50, mode: jobs, tasks_per_job: auto, parallel: 2}
gpus_from: [0, "1,2"]
gpus: [0, "1, 2", GPU-8932f937-d72c]
workdir: task
files: {in/input.nml: decks/input.nml.j2}
stdin: deck.txt
link: [data]
env: {OMP_NUM_THREADS: "{{ resources.cpus }}", FLAG: true}
env_from: clean
setup: module load cuda
teardown: echo done
container: {image: x.sif, nv: true, bind: [/data], runtime: apptainer}
metrics: ["*.metrics", "out/{{ lr }}.csv"]
objective: "val_loss : last : min"
canary: 1
max_failures: 20
retry: {oom: {memory: x2, up_to: 64G}, timeout: {time: +1h}, node_fail: {}, attempts: 5}
finally: {command: [python, summary.py, 1e-3], when: ended, resources: {time: 10m}}
runs_dir: ~/runs
umask: 027
group: lab
settle: 10m
signal: {name: SIGUSR1, before: 2m}
on_timeout: requeue
stage: {in: "data/{{ lr }}/*.npz", out: ["*.ckpt", out/]}
snapshot: {include: [conf/*.json], exclude: docs, link: [data/], max_size: 2G}
query_timeout: 20s
""")
    assert set(values) == set(KEYS)
    assert values["command"] == "python train.py {{ params | flags }}"
    assert values["files"]["in/input.nml"].path == "decks/input.nml.j2"
    assert isinstance(values["template"], FileRef)
    assert values["link"] == ("data",)
    assert values["metrics"] == ("*.metrics", "out/{{ lr }}.csv")
    assert values["gpus"] == ("0", "1,2", "GPU-8932f937-d72c")
    assert values["objective"] == "val_loss:last:min"
    assert values["umask"] == 0o027
    assert values["settle"] == 600
    assert values["snapshot"] == Snapshot(include=("conf/*.json",), exclude=("docs",), link=("data",), max_bytes=2 << 30)
    assert values["signal"] == Signal(name="USR1", before_s=120)
    assert values["on_timeout"] == 20
    assert values["stage"] == Stage(inputs=("data/{{ lr }}/*.npz",), outputs=("*.ckpt", "out/"))
    assert values["finally"] == {"command": ("python", "summary.py", "1e-3"), "when": "ended", "resources": {"time": "10m"}}
    assert values["slurm"] == {"constraint": "a100", "exclusive": True, "nice": 5}
    assert values["pbs"] == {"P": "lab", "l": {"place": "scatter:excl"}, "chunk": ["bigmem"]}
    assert values["torque"] == {"l": {"qos": "high"}, "chunk": "a100"}


@pytest.mark.parametrize("key", NOT_YET)
def test_keys_of_later_versions_are_refused(key):
    fault = fault_of(f"{key}: {{a: 1}}")
    assert fault.message == f"`{key}` is not yet in this version"
    assert (fault.place.line, fault.place.column) == (1, 1)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("pbs: {l: {place: {a: b}}}", "expected a text, a number"),
        ('pbs: {l: {mem: "{{ x }}"}}', "no expressions here"),
        ("array: {tasks_per_job: 2, parallel: 4}", "4 tasks side by side are more than the 2"),
        ("array: {tasks_per_job: many}", "a whole number from 1, or `auto`"),
        ("array: {tasks_per_job: 0}", "a whole number from 1"),
        ("gpus_from: []", "a list of GPUs"),
        ("retry: {oom: {memory: x1}}", "no larger amount"),
        ("retry: {oom: {memory: 2}}", "has no unit"),
        ("retry: {oom: {memory: x2, up_to: 24h}}", "no amount of memory"),
        ("retry: {oom: {memory: x2, time: x2, up_to: 64G}}", "of memory or of time?"),
        ("retry: {node_fail: {up_to: 64G}}", "bounds a change, and there is none"),
        ("retry: {out_of_memory: {}}", "retry has no key `out_of_memory`"),
        ("retry: {oom: {mem: x2}}", "retry.oom has no key `mem`"),
        ("retry: {attempts: 0}", "a whole number from 1"),
        ("gpus_from: [0, '1,0']", "the GPU 0 is there twice"),
        ("gpus_from: [0, '1;2']", "`1;2` is no GPU"),
        ("gpus_from: SITE GPUS", "a variable's name, `nvidia-smi`, or a list"),
        ("signal: USR1", "expected a mapping"),
        ("signal: {name: USR1}", "a `before` is missing"),
        ("signal: {before: 2m}", "a `name` is missing"),
        ("signal: {name: KILL, before: 2m}", "expected one of USR1, USR2, INT, TERM, HUP"),
        ("signal: {name: 10, before: 2m}", "expected one of USR1, USR2, INT, TERM, HUP"),
        ("signal: {name: USR1, before: 120}", "no unit"),
        ("signal: {name: USR1, before: 2m, saved: 0}", "an exit code from 1 to 125"),
        ("signal: {name: USR1, before: 2m, saved: 137}", "an exit code from 1 to 125"),
        ("signal: {name: USR1, before: 2m, code: 3}", "signal has no key `code`"),
        ("on_timeout: requeue", "a program that is not told of its end cannot save"),
        ("on_timeout: resubmit", "expected requeue"),
        ("on_timeout: {requeue: 0}", "from 1"),
        ("on_timeout: {}", "a `requeue` is missing"),
        ("stage: {}", "an `in` or an `out` is missing"),
        ("stage: data", "expected a mapping"),
        ("stage: {in: []}", "at least one text"),
        ("stage: {in: 5}", "expected a text"),
        ("stage: {in: ..}", "gives no name for the copy"),
        ("stage: {in: ~/data}", "`~` is not filled in"),
        ("stage: {in: 'data/{{ nothing }}'}", "there is no parameter"),
        ("stage: {out: /tmp/x}", "is not below $HPCSWEEP_STAGE_DIR"),
        ("stage: {out: ['*.ckpt', ../x]}", "is not below $HPCSWEEP_STAGE_DIR"),
        ("name: 5", "expected a text, got the number 5"),
        ("name: a/b", "slashes"),
        ("scheduler: lsf", "expected auto, slurm, pbs, torque or local"),
        ("command: {a: 1}", "a list of words"),
        ("command: 5", "expected a text"),
        ("command: ''", "not empty"),
        ("command: []", "at least one word"),
        ("command: [a, [b]]", "expected a word"),
        ("resources: 5", "expected a mapping"),
        ("resources: {time: 30}", "no unit"),
        ("resources: {time: [1]}", "expected a time"),
        ("resources: {memory: 8}", "no unit"),
        ("resources: {cpus: 0}", "from 1"),
        ("resources: {queue: a, partition: b}", "which is there too"),
        ("resources: {cpus: four}", "from 1"),
        ("resources: {gpus: -1}", "from 0"),
        ("resources: {gpus: 1.5}", "a fraction below 1"),
        ("resources: {gpus: 0.001}", "a fraction below 1"),
        ("gpus: 2", "expected a list of GPUs"),
        ("gpus: []", "expected a list of GPUs"),
        ("gpus: '0,1'", "expected a list of GPUs"),
        ("gpus: [true]", "a GPU's number or UUID"),
        ("gpus: [[0, 1]]", "a GPU's number or UUID"),
        ("gpus: [first]", "`first` is no GPU"),
        ("gpus: ['0,,1']", "a GPU's name is missing"),
        ("gpus: [0, '1,0']", "the GPU 0 is there twice"),
        ("resources: {cpus: '{{ width }}'}", "there is no parameter"),
        ("resources: {cpus: '{{ 1 + }}'}", "resources.cpus"),
        ("slurm: {comment: '{{ lr }}'}", "no expressions here"),
        ("slurm: {gres: [a]}", "expected a text"),
        ("array: {at_once: 0}", "from 1"),
        ("array: {at_once: true}", "from 1"),
        ("array: {mode: job}", "expected array or jobs"),
        ("workdir: 'out/{{ lr }}'", "no expressions"),
        ("files: {../x: a}", "no file in the task's folder"),
        ("files: {/x: a}", "no file in the task's folder"),
        ("files: {params.json: a}", "hpcsweep itself"),
        ("files: {x: '{{ lr }}.j2'}", "no expressions"),
        ("files: {'{{ nope }}.nml': a}", "there is no parameter"),
        ("files: [a]", "expected a mapping"),
        ("link: [a/data, b/data/]", "both be called `data`"),
        ("link: ..", "no name for the link"),
        ("env: {1A: x}", "no variable's name"),
        ("env: {a-b: x}", "no variable's name"),
        ("env: {HPCSWEEP_TASK: x}", "hpcsweep's own"),
        ("env: {A: '{{ lr }}'}", "the same for all tasks"),
        ("env: {A: [x]}", "expected a text"),
        ("env_from: login", "submit or clean"),
        ("setup: 'echo {{ lr }}'", "the same for all tasks"),
        ("setup: 'echo {{ nope }}'", "there is no parameter"),
        ("teardown: 'echo {{ lr }}'", "the same for all tasks"),
        ("container: {nv: true}", "an `image` is missing"),
        ("container: {image: a, nv: 1}", "true or false"),
        ("container: {image: a, runtime: podman}", "docker"),
        ("metrics: []", "at least one text"),
        ("metrics: /abs/*.csv", "outside the task's folder"),
        ("metrics: '{{ nope }}'", "there is no parameter"),
        ("objective: loss", "no objective"),
        ("objective: loss:down", "no objective"),
        ("objective: a:b:c:min", "no objective"),
        ("objective: ':min'", "no objective"),
        ("canary: 0", "from 1"),
        ("max_failures: some", "from 1"),
        ("finally: {when: done}", "a `command` is missing"),
        ("finally: {command: a, when: never}", "done or ended"),
        ("finally: {command: a, resources: {cpus: '{{ lr }}'}}", "the same for all tasks"),
        ("snapshot: 5", "expected true, false or a mapping"),
        ("snapshot: {include: /abs}", "not below the project's folder"),
        ("snapshot: {link: [../data]}", "not below the project's folder"),
        ("snapshot: {exclude: '{{ lr }}'}", "no expressions here"),
        ("snapshot: {max_size: 5}", "expected a size"),
        ("snapshot: {max_size: 5X}", "snapshot.max_size"),
        ("snapshot: {files: [a]}", "snapshot has no key `files`"),
        ("umask: 9", "octal"),
        ("umask: 0777", "your own rights"),
        ("umask: rwx", "octal"),
        ("group: 'a b'", "group"),
        ("runs_dir: 'x/{{ lr }}'", "no expressions"),
        ("settle: 60", "no unit"),
    ],
)
def test_what_is_refused(text, part):
    fault = fault_of(text)
    assert part in fault.message
    assert fault.place.line == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("comand: x", "`command`"),
        ("profiles: {}", "hpcsweep.yaml"),
        ("time: 1h", "resources: {time: ...}"),
        ("queue: short", "resources: {queue: ...}"),
        ("mem: 1G", "resources:"),
        ("at_once: 5", "array: {at_once: ...}"),
        ("parameters: {}", "`space`"),
        ("zzz: 1", "under `space:`"),
        ("resources: {mem: 1G}", "`memory`"),
        ("resources: {tme: 1G}", "`time`"),
        ("array: {atonce: 1}", "`at_once`"),
        ("slurm: {--constraint=a: b}", "`constraint:` without dashes"),
        ("env: {A: '{{ lr }}'}", "HPCSWEEP_PARAM_<name>"),
        ("resources: {time: 30}", "30m or 30s"),
        ("name: 5", '"5"'),
    ],
)
def test_the_way_out_is_said(text, hint):
    assert hint in fault_of(text).hint


def test_all_faults_are_told_at_once_in_their_order():
    faults = faults_of("resources:\n  time: 30\n  memory: 8\nnope: 1\nenv:\n  1A: x\ncanary: -1")
    assert [fault.place.line for fault in faults] == [2, 3, 4, 6, 7]


def test_an_expression_is_not_held_against_a_faulty_space():
    assert read("resources: {cpus: '{{ anything }}'}", names=None)["resources"] == {"cpus": "{{ anything }}"}


def test_words_of_a_command_stay_as_written():
    assert read("command: [prog, 1e-3, true, '{{ params | flags }}']")["command"] == (
        "prog",
        "1e-3",
        "true",
        "{{ params | flags }}",
    )


@pytest.mark.parametrize(
    ("text", "mask"), [("umask: 027", 0o27), ("umask: '0002'", 2), ("umask: 77", 0o77), ("umask: 0o27", 0o27)]
)
def test_umask_is_octal_however_it_is_written(text, mask):
    assert read(text)["umask"] == mask


def test_input_itself_or_the_path_of_it():
    assert read('stdin: "{{ lr }}"')["stdin"] == "{{ lr }}"
    assert read("stdin: |\n  a\n  b\n")["stdin"] == "a\nb\n"
    assert read("stdin: deck.txt")["stdin"].path == "deck.txt"


def test_every_key_says_what_it_is_for():
    tables = (KEYS, ARRAY_KEYS, CONTAINER_KEYS, FINALLY_KEYS)
    assert all(key.help.endswith((".", ")", "*.metrics")) for keys in tables for key in keys.values())
    assert all(SPACE_KEYS.values())
    assert not set(KEYS) & set(SPACE_KEYS)
    assert not (set(KEYS) | set(SPACE_KEYS)) & set(NOT_YET)


def test_setup_is_shell_text_not_a_template_only():
    text = "a=(1 2)\necho ${#a[@]} {{ resources.cpus }}\n"
    assert read("setup: |\n  a=(1 2)\n  echo ${#a[@]} {{ resources.cpus }}\n")["setup"] == text


@pytest.mark.parametrize(("text", "expected"), [("true", Snapshot()), ("false", None), ("{}", Snapshot())])
def test_a_snapshot_is_wanted_or_not(text, expected):
    assert read(f"snapshot: {text}")["snapshot"] == expected
