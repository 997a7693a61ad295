"""What a Torque ``qsub`` asks for: the command line and the script's directives, read. Pure.

Torque's own rules differ from OpenPBS's in most options: ``-t`` has lists and no step, ``-v`` knows no quotes, ``-o`` escapes
blanks, ``-N`` takes nearly all. What the client itself refuses ends with its usage and code 2; the rest is refused by the server.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpcsweep.rehearsal import indices
from hpcsweep.rehearsal.indices import Indices
from hpcsweep.rehearsal.pbs_common import BadOptionError, Options, directives, parse_dependencies, parse_options

OPTIONS = "a:A:b:c:C:d:D:e:EfF:hIj:J:k:K:l:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:Xxz-:"

_USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-b secs]
    [-c [ none | { enabled | periodic | shutdown |
    depth=<int> | dir=<path> | interval=<minutes>}... ]
    [-C directive_prefix] [-d path] [-D path]
    [-e path] [-h] [-I] [-j oe|eo|n] [-k {oe}] [-K <kill delay seconds>]\x20
    [-l resource_list] [-m n|{abe}] [-M user_list] [-N jobname] [-o path]\x20
    [-p priority] [-P proxy_user [-J <jobid]] [-q queue] [-r y|n]\x20
    [-S path] [-t number_to_submit] [-T type]  [-u user_list] [-w] path
    [-W additional_attributes] [-v variable_list] [-V ] [-x] [-X] [-z] [script]
"""
DEPENDENCIES = frozenset(
    [
        "after",
        "afterok",
        "afternotok",
        "afterany",
        "before",
        "beforeok",
        "beforenotok",
        "beforeany",
        "on",
        "synccount",
        "syncwith",
    ]
    + [f"{when}{how}array" for when in ("after", "before") for how in ("start", "ok", "notok", "any")]
)
_EXTRA_ATTRIBUTES = frozenset(["depend", "umask", "group_list", "fault_tolerant", "job_radix", "x"])
_NOT_IMITATED = frozenset(["-D", "-T", "-X", "-W stagein", "-W stageout", "-W interactive"])


class UsageError(Exception):
    """The client says no, with its usage."""

    def text(self) -> str:
        """What it prints to standard error."""
        return f"[{self}]\n\n{_USAGE}\n"


class RefusalError(Exception):
    """The server says no: ``code`` is qsub's exit code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Array:
    """``-t 1-3,7%2``: ``indices`` ascending, each once; ``at_once`` the slot limit."""

    text: str
    indices: Indices
    at_once: int | None = None


@dataclass(frozen=True, kw_only=True)
class Script:
    """What is to run; ``path`` is None where it came on standard input."""

    text: str
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where and when a command was given."""

    environment: Mapping[str, str]
    cwd: str
    now: float


@dataclass(frozen=True, kw_only=True)
class Request:
    """One submission. Paths are as they were given; ``variables`` is the text of ``-v``, with its own rules (see below)."""

    name: str
    script: str
    submit_args: str
    workdir: str
    queue: str = ""
    server: str = ""
    array: Array | None = None
    array_error: bool = False
    resources: Mapping[str, str] = field(default_factory=dict)
    dependencies: Sequence[tuple[str, Sequence[str]]] = ()
    unknown_attributes: Sequence[str] = ()
    not_imitated: Sequence[str] = ()
    """Options that a real server takes, and nobody here."""
    variables: str = ""
    output: str = ""
    error: str = ""
    join: str = "n"
    keep: str = "n"
    init_dir: str = ""
    shell: str = ""
    arguments: str = ""
    account: str = ""
    proxy_user: str = ""
    mail_points: str = "a"
    mail_users: str = ""
    priority: int = 0
    is_held: bool = False
    is_rerunable: bool = True
    is_quiet: bool = False
    is_interactive: bool = False
    umask: int | None = None
    begin: float | None = None
    kill_delay_s: int | None = None


def parse_array(text: str) -> Array | None:
    """The value of ``-t``; None where the server refuses it."""
    match = re.fullmatch(r"(?P<list>[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)(?:%(?P<at_once>[0-9]+))?", text, re.ASCII)
    if match is None:
        return None
    try:
        parts = indices.parse(match["list"])
    except ValueError:
        return None
    at_once = None if match["at_once"] is None else int(match["at_once"])
    return Array(text=text, indices=_merged(parts), at_once=at_once)


def _merged(parts: Sequence[range]) -> Indices:
    """Ranges in ascending order that neither overlap nor touch."""
    found: Indices = []
    for part in sorted(parts, key=lambda part: (part.start, part.stop)):
        if found and part.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, part.stop))
        else:
            found.append(part)
    return found


def parse_ranges(text: str) -> Indices | None:
    """``-t`` of qdel, qhold and qrls: a list without a slot limit."""
    array = parse_array(text)
    return None if array is None or array.at_once is not None else array.indices


def sent_variables(text: str, environment: Mapping[str, str]) -> str:
    r"""What the client sends for ``-v``: it breaks at each comma, and completes what has no ``=`` from its environment.

    The backslash in ``A=a\,b`` is the server's business: the client takes ``b`` for a variable. So ``A`` becomes ``a,b=``.

    >>> sent_variables(r"A=a\,b,HOME", {"HOME": "/home/user"})
    'A=a\\,b=,HOME=/home/user'
    """
    items = [item for item in text.split(",") if item.strip()]
    return ",".join(item if "=" in item else f"{item}={_with_commas(environment.get(item.strip(), ''))}" for item in items)


def exported_variables(environment: Mapping[str, str]) -> str:
    """``-V``: all of the environment, with commas and backslashes escaped."""
    return ",".join(f"{name}={_with_commas(value)}" for name, value in environment.items() if not name.startswith("BASH_FUNC_"))


def _with_commas(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")


def read_variables(text: str) -> dict[str, str]:
    r"""What a task finds of a list of variables: a comma ends a value, a backslash takes the next character as it is."""
    found: dict[str, str] = {}
    for item in re.findall(r"(?:\\.|[^,\\])+", text, re.DOTALL):
        name, equals, value = re.sub(r"\\(.)", r"\1", item, flags=re.DOTALL).partition("=")
        if equals and name:
            found.setdefault(name, value)
    return found


def parse_request(words: Sequence[str], script: Script, where: Where) -> Request:
    """A submission, of the words behind ``qsub`` and the script.

    Raises:
        UsageError: The client itself says no.
    """
    try:
        on_line = parse_options(words, OPTIONS)
        prefix = on_line.last("C")
        in_script = parse_options(directives(script.text, "#PBS" if prefix is None else prefix), OPTIONS)
    except BadOptionError as error:
        raise UsageError("exiting") from error
    if on_line.has("-"):
        raise UsageError("a single - is not a valid option")
    if on_line.has("J") and not on_line.has("P"):
        raise UsageError("The -J option can only be used in conjunction with -P")
    if len(on_line.operands) > 1:
        raise UsageError("index issues")
    options = Options(given=[*in_script.given, *on_line.given], operands=on_line.operands)
    _check(options)
    extra = _extra_attributes(options.all("W"))
    array_text = options.last("t") or ""
    array = parse_array(array_text)
    names = {*(f"-{letter}" for letter, _ in options.given), *(f"-W {name}" for name in extra)}
    queue, _, server = (options.last("q") or "").partition("@")
    # The last -v counts, and one on the command line replaces the script's.
    parts = [
        sent_variables(options.last("v") or "", where.environment),
        exported_variables(where.environment) if options.has("V") else "",
    ]
    return Request(
        name=_name(options, script.path),
        script=script.text,
        submit_args=" ".join(words),
        workdir=where.cwd,
        queue=queue,
        server=server,
        array=array,
        array_error=bool(array_text) and array is None,
        resources=_resources(options.all("l")),
        dependencies=parse_dependencies(extra["depend"]) if "depend" in extra else (),
        unknown_attributes=sorted(
            name for name in extra if name not in _EXTRA_ATTRIBUTES and f"-W {name}" not in _NOT_IMITATED
        ),
        not_imitated=sorted(names & _NOT_IMITATED),
        variables=",".join(part for part in parts if part),
        output=_path(options.last("o") or "", where.cwd),
        error=_path(options.last("e") or "", where.cwd),
        join=options.last("j") or "n",
        keep=options.last("k") or "n",
        init_dir=_absolute(options.last("d") or options.last("w") or "", where.cwd),
        shell=options.last("S") or "",
        arguments=options.last("F") or "",
        account=options.last("A") or "",
        proxy_user=options.last("P") or "",
        mail_points=options.last("m") or "a",
        mail_users=options.last("M") or "",
        priority=int(options.last("p") or 0),
        is_held=options.has("h"),
        is_rerunable=options.last("r") != "n",
        is_quiet=options.has("z"),
        is_interactive=options.has("I"),
        umask=_umask(extra["umask"]) if "umask" in extra else None,
        begin=_begin(options.last("a"), where.now),
        kill_delay_s=int(options.last("K") or 0) if options.has("K") else None,
    )


_FORMS = {
    "j": r"oe|eo|n",
    "k": r"o|e|oe|eo|n",
    "m": r"\s*(n|[abe]+)",
    "p": r"\s*[-+]?[0-9]+",
    "r": r"[yn]",
    "N": r"[\x21-\x7e]{0,256}",
    "K": r"[0-9]+",
}


def _check(options: Options) -> None:
    for letter, form in _FORMS.items():
        value = options.last(letter)
        if value is not None and not re.fullmatch(form, value, re.ASCII):
            raise UsageError(f"qsub: illegal -{letter} value{' (y/n)' if letter == 'r' else ''}")
    if abs(int(options.last("p") or 0)) > 1024:
        raise UsageError("qsub: illegal -p value")
    if options.has("x"):
        raise UsageError("qsub: '-x' invalid on non-interactive job")


def _name(options: Options, script_name: str | None) -> str:
    given = options.last("N")
    if given is not None:
        return given
    if script_name is None:
        return "STDIN"
    name = script_name.rpartition("/")[2]
    if not re.fullmatch(_FORMS["N"], name, re.ASCII):
        raise UsageError("qsub: cannot form a valid job name from the script name")
    return name


def _extra_attributes(values: Sequence[str]) -> dict[str, str]:
    """``-W depend=afterok:1,umask=022``: names and values; a comma may belong to a value."""
    found: dict[str, str] = {}
    for text in values:
        if not text.strip():
            raise UsageError("qsub: illegal -W value")
        # What is no attribute is for the scheduler, which is asked as x=.
        pairs = re.split(r"[,\s]+(?=[A-Za-z_]+=)", text.strip()) if "=" in text else [f"x={text}"]
        for pair in pairs:
            name, _, value = pair.partition("=")
            if not name.strip() or not value.strip():
                raise UsageError("qsub: illegal -W value")
            found[name.strip()] = value.strip()
    if "depend" in found:
        for kind, ids in parse_dependencies(found["depend"]):
            if (
                kind not in DEPENDENCIES
                or not ids
                or not all(re.fullmatch(r"[0-9]+(\[[0-9]*\])*(\..*)?", i, re.ASCII) for i in ids)
            ):
                raise UsageError("qsub: illegal -W value")
    return found


def _resources(texts: Sequence[str]) -> dict[str, str]:
    """Resources in the order given; the last value of each counts."""
    found: dict[str, str] = {}
    for item in ",".join(texts).split(",") if texts else []:
        name, _, value = item.strip().partition("=")
        if not name:
            raise UsageError("qsub: illegal -l value")
        found[name] = value
    return found


def _path(given: str, cwd: str) -> str:
    """A file of ``-o`` or ``-e`` as the server knows it: absolute, without the host, and with a backslash before each blank."""
    host, colon, path = given.partition(":")
    path = path if colon and "/" not in host else given
    if not path:
        return ""
    return _absolute(path, cwd).replace(" ", "\\ ")


def _absolute(path: str, cwd: str) -> str:
    return path if not path or path.startswith("/") else f"{cwd.rstrip('/')}/{path}"


def _umask(text: str) -> int:
    if not re.fullmatch(r"0?[0-9]{1,3}", text, re.ASCII):
        raise UsageError(f"qsub: Invalid umask value, too many digits: {text}")
    # Without a zero in front the number is taken as decimal.
    return int(text, 8) if text.startswith("0") and not re.search("[89]", text) else int(text)


def _begin(text: str | None, now: float) -> float | None:
    """``[[[[CC]YY]MM]DD]hhmm[.SS]`` in local time. An hour that has passed is meant for tomorrow, a day for the next month."""
    if text is None:
        return None
    match = re.fullmatch(r"(?:(?:(?:(\d\d)?(\d\d))?(\d\d))?(\d\d))?(\d\d)(\d\d)(?:\.(\d\d))?", text, re.ASCII)
    if match is None:
        raise UsageError("qsub: illegal -a value")
    century, year, month, day, hour, minute, second = (None if part is None else int(part) for part in match.groups())
    today = time.localtime(now)
    full_year = today.tm_year if year is None else (century * 100 if century is not None else 2000) + year
    parts = [full_year, month or today.tm_mon, day or today.tm_mday, hour or 0, minute or 0, second or 0]

    def epoch() -> float:
        return time.mktime((*parts, 0, 0, -1))  # type: ignore[arg-type]

    if epoch() < now and year is None:
        if day is None:
            parts[2] += 1
        elif month is None:
            parts[1] += 1
        else:
            parts[0] += 1
    return epoch()
