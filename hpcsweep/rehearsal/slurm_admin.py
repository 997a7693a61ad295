"""sinfo and sacctmgr: what the site has, and what it lets its users do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpcsweep.rehearsal.face import Answer, Call
from hpcsweep.rehearsal.slurm_arguments import Syntax, UsageError, pairs, table
from hpcsweep.rehearsal.slurm_control import node_state
from hpcsweep.rehearsal.slurm_site import VERSION, Partition, Site
from hpcsweep.rehearsal.slurm_values import fold_hosts, format_elapsed, lay_out
from hpcsweep.rehearsal.slurm_view import Visit

SINFO = Syntax(
    program="sinfo",
    longs=table(
        none="Node all dead exact federation help hide json list-reasons local long noconvert noheader reservation responding"
        " summarize usage verbose version yaml",
        value="Format cluster clusters format iterate nodes partition sort states",
    ),
    shorts=pairs(
        "a=all d=dead e=exact h=noheader i=iterate l=long n=nodes o=format p=partition r=responding "
        "s=summarize t=states v=verbose M=clusters N=Node O=Format R=list-reasons S=sort T=reservation "
        "V=version"
    ),
)
SACCTMGR = Syntax(
    program="sacctmgr",
    longs=table(none="associations help immediate noheader oneliner parsable parsable2 quiet readonly verbose version"),
    shorts=pairs(
        "h=help i=immediate n=noheader o=oneliner p=parsable r=readonly s=associations v=verbose P=parsable2 Q=quiet V=version"
    ),
)
_SHORT = "%{names}P %.5a %.10l %.6D %.6t %N"
_SUMMARY = "%{names}P %.5a %.10l %.16F %N"
_BY_NODE = "%{nodes}N %.6D %.{names}P %6t"
_NODE_STATES = {"idle": "idle", "mixed": "mix", "allocated": "alloc", "down": "down"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A node in a partition."""

    node: str
    state: str
    partition: Partition
    site: Site


def run_sinfo(visit: Visit) -> Answer:
    """Do what sinfo does: nodes that look the same in all columns are one line."""
    try:
        site = visit.site
        given = SINFO.parse(visit.call.argv)
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    if "version" in given:
        return Answer(stdout=f"slurm-wlm {VERSION}\n")
    header = "noheader" not in given
    if "list-reasons" in given:
        return Answer(stdout="REASON               USER      TIMESTAMP           NODELIST\n" if header else "")
    default = _SUMMARY if "summarize" in given else _BY_NODE if "Node" in given else _SHORT
    wanted = given.last("partition").split(",") if "partition" in given else None
    places = [
        Place(node=node, state=node_state(visit.cluster, site, node), partition=partition, site=site)
        for partition in site.partitions
        for node in site.nodes
        if wanted is None or partition.name in wanted
    ]
    if "Node" in given:
        places.sort(key=lambda place: site.nodes.index(place.node))
    names = max(len("PARTITION"), *(len(partition.name) + 1 for partition in site.partitions))
    nodes = max(len("NODELIST") + 2, *(len(node) for node in site.nodes))
    columns = _parse_format(given.last("format") or default.format(names=names, nodes=nodes))
    lines = [
        "".join(
            before + lay_out(_HEADERS.get(letter, letter), width, to_the_right=right)
            for before, letter, width, right in columns
        )
    ]
    groups = _group(places, [letter for _, letter, _, _ in columns], by_node="Node" in given)
    lines += [
        "".join(before + lay_out(_value(letter, group), width, to_the_right=right) for before, letter, width, right in columns)
        for group in groups
    ]
    return Answer(stdout="".join(f"{line}\n" for line in (lines if header else lines[1:])))


def _parse_format(text: str) -> list[tuple[str, str, int, bool]]:
    """Text before, letter, width, whether to the right; the rest of the text has the letter ''."""
    columns = []
    position = 0
    for match in re.finditer(r"%(\.?)(\d*)([A-Za-z])", text):
        columns.append((text[position : match.start()], match[3], int(match[2] or 0), bool(match[1])))
        position = match.end()
    return [*columns, (text[position:], "", 0, False)]


def _group(places: Iterable[Place], letters: Sequence[str], *, by_node: bool) -> list[list[Place]]:
    groups: dict[tuple[str, ...], list[Place]] = {}
    for place in places:
        key = [_OF_PLACE[letter](place) for letter in letters if letter in _OF_PLACE]
        groups.setdefault((*key, place.node if by_node else ""), []).append(place)
    return list(groups.values())


def _value(letter: str, group: Sequence[Place]) -> str:
    if letter in _OF_PLACE:
        return _OF_PLACE[letter](group[0])
    return _OF_GROUP[letter](group) if letter in _OF_GROUP else ""


def _count(group: Sequence[Place], *states: str) -> int:
    return len({place.node for place in group if not states or place.state in states})


def _counts(group: Sequence[Place]) -> tuple[int, int, int, int]:
    busy, idle, other = _count(group, "mixed", "allocated"), _count(group, "idle"), _count(group, "down")
    return busy, idle, other, busy + idle + other


def _limit(partition: Partition) -> str:
    return "infinite" if partition.max_minutes is None else format_elapsed(partition.max_minutes * 60)


_OF_PLACE: dict[str, Callable[[Place], str]] = {
    "P": lambda place: place.partition.name + ("*" if place.partition == place.site.partitions[0] else ""),
    "R": lambda place: place.partition.name,
    "a": lambda _: "up",
    "l": lambda place: _limit(place.partition),
    "L": lambda _: "n/a",
    "t": lambda place: _NODE_STATES[place.state],
    "T": lambda place: place.state,
    "c": lambda place: str(place.site.cpus),
    "m": lambda place: str(place.site.shown_memory_mb),
    "G": lambda place: place.site.gres,
    "f": lambda place: ",".join(place.site.features) or "(null)",
    "b": lambda place: ",".join(place.site.features) or "(null)",
    "d": lambda _: "0",
    "w": lambda _: "1",
    "v": lambda _: VERSION,
    "z": lambda place: f"{place.site.cpus}:1:1",
    "n": lambda place: place.site.host,
}
_OF_GROUP: dict[str, Callable[[Sequence[Place]], str]] = {
    "D": lambda group: str(_count(group)),
    "N": lambda group: fold_hosts(dict.fromkeys(place.node for place in group)),
    "A": lambda group: "{}/{}".format(*_counts(group)),
    "F": lambda group: "{}/{}/{}/{}".format(*_counts(group)),
}
_HEADERS = {
    **pairs(
        "P=PARTITION R=PARTITION a=AVAIL l=TIMELIMIT L=DEFAULTTIME t=STATE T=STATE c=CPUS m=MEMORY G=GRES "
        "f=AVAIL_FEATURES b=ACTIVE_FEATURES d=TMP_DISK w=WEIGHT v=VERSION z=S:C:T n=HOSTNAMES D=NODES "
        "N=NODELIST A=NODES(A/I) F=NODES(A/I/O/T)"
    ),
    "": "",
}


# ---- sacctmgr ----


def run_sacctmgr(visit: Visit) -> Answer:
    """``sacctmgr show user|assoc|qos|cluster``; it changes nothing."""
    call, site = visit.call, visit.site
    try:
        given = SACCTMGR.parse(call.argv)
    except UsageError as error:
        return Answer(stderr=error.text, code=error.code)
    if "version" in given:
        return Answer(stdout=f"slurm-wlm {VERSION}\n")
    if not given.words:
        return Answer(stdout="sacctmgr: \n")
    keyword, *words = given.words
    if keyword not in ("show", "list"):
        said = (
            f"invalid keyword: {keyword}"
            if keyword not in _CHANGES
            else "sacctmgr: error: a rehearsal's accounts are its settings"
        )
        return Answer(stderr=f"{said}\n", code=1)
    if not site.has_history or call.faults.is_on("history-off"):
        said = "You are not running a supported accounting_storage plugin\nOnly 'accounting_storage/slurmdbd' is supported.\n"
        return Answer(stderr=said, code=1)
    if call.faults.is_on("history-down"):
        said = "sacctmgr: error: Problem talking to the database: Connection refused\n"
        return Answer(stderr=said, code=1)
    entity = _entity(words[0]) if words else None
    if entity is None:
        return Answer(stderr=_NO_ENTITY, code=1)
    rows, default = _rows(entity, call, site)
    conditions = dict(word.lower().split("=", 1) for word in words[1:] if "=" in word)
    names = [name for name in re.split(r",", conditions.get("format", "")) if name] or default
    fields = []
    for name in names:
        found = _find_field(name.partition("%")[0], rows[0] if rows else {})
        if found is None:
            return Answer(stderr=f"Unknown field '{name}'\n", code=1)
        fields.append(found)
    rows = [row for row in rows if _is_asked_for(row, conditions, entity)]
    return Answer(
        stdout=_print(
            rows,
            fields,
            header="noheader" not in given,
            delimiter="|" if "parsable2" in given or "parsable" in given else "",
            ends="parsable" in given,
        )
    )


_CHANGES = ("add", "modify", "delete", "create", "remove", "archive", "load", "dump")
_NO_ENTITY = (
    "No valid entity in list command\n"
    'Input line must include "Account", "Association", "Cluster", "Configuration",\n'
    '"Event", "Federation", "Problem", "QOS", "Resource", "Reservation",\n'
    '"RunAwayJobs", "Stats", "Transaction", "TRES", "User", or "WCKey"\n'
)


def _entity(word: str) -> str | None:
    for name in ("association", "cluster", "qos", "user", "account"):
        if len(word) >= 3 and (name.startswith(word.lower()) or word.lower() == f"{name}s"):
            return name
    return None


def _rows(entity: str, call: Call, site: Site) -> tuple[list[dict[str, str]], list[str]]:
    """All records of a kind, with every field that they have, and the fields that are shown where nothing is asked for."""
    limit = "" if site.max_submit is None else str(site.max_submit)
    if entity == "qos":
        empty = dict.fromkeys(("GrpSubmit", "MaxSubmitPA", "MaxJobsPU", "MaxJobsPA", "GrpJobs", "MaxWall", "MaxTRESPU"), "")
        return [
            {
                "Name": quality.name,
                "Priority": "0",
                "MaxSubmitPU": "" if quality.max_submit is None else str(quality.max_submit),
                **empty,
            }
            for quality in site.qualities
        ], ["Name", "Priority", "GrpJobs", "GrpSubmit", "MaxWall", "MaxJobsPU", "MaxSubmitPU", "MaxJobsPA", "MaxSubmitPA"]
    if entity == "cluster":
        return [{"Cluster": site.cluster, "ControlHost": "127.0.0.1", "ControlPort": "6817", "RPC": "9728", "Share": "1"}], [
            "Cluster",
            "ControlHost",
            "ControlPort",
            "RPC",
        ]
    if entity == "account":
        return [{"Account": name, "Descr": name, "Org": name} for name in site.accounts], ["Account", "Descr", "Org"]
    qualities = ",".join(sorted(quality.name for quality in site.qualities))
    rows = [
        {
            "Cluster": site.cluster,
            "User": call.user,
            "Def Acct": site.accounts[0],
            "Account": account,
            "Partition": "",
            "Share": "1",
            "QOS": qualities,
            "Def QOS": site.qualities[0].name,
            "MaxSubmit": limit,
            "Admin": "None",
            **dict.fromkeys(("GrpSubmit", "MaxJobs", "GrpJobs", "MaxWall", "MaxTRES", "Priority"), ""),
        }
        for account in site.accounts
    ]
    if entity == "user":
        return rows, ["User", "Def Acct", "Admin"]
    return rows, [
        "Cluster",
        "Account",
        "User",
        "Partition",
        "Share",
        "GrpJobs",
        "GrpSubmit",
        "MaxJobs",
        "MaxSubmit",
        "MaxWall",
        "QOS",
        "Def QOS",
    ]


def _find_field(name: str, row: Mapping[str, str]) -> str | None:
    """Fields have several names, and may be shortened: MaxSubmitJobsPerUser is MaxSubmitPU."""
    wanted = _bare(name)
    exact = next((field for field in row if _bare(field) == wanted), None)
    return exact or next((field for field in row if len(wanted) > 2 and _bare(field).startswith(wanted)), None)


def _bare(name: str) -> str:
    words = ("default", "def"), ("defaccount", "defacct"), ("submitjobs", "submit"), ("peruser", "pu"), ("peraccount", "pa")
    bare = name.lower().replace(" ", "")
    for long, short in (*words, ("adminlevel", "admin")):
        bare = bare.replace(long, short)
    return bare


def _is_asked_for(row: Mapping[str, str], conditions: Mapping[str, str], entity: str) -> bool:
    names = {"user": "User", "account": "Account", "cluster": "Cluster", "name": "User" if entity == "user" else "Name"}
    return all(
        row.get(field, "").lower() in conditions[word].split(",") for word, field in names.items() if conditions.get(word)
    )


def _print(rows: Sequence[Mapping[str, str]], fields: Sequence[str], *, header: bool, delimiter: str, ends: bool) -> str:
    last = delimiter if ends else ""
    if delimiter:
        lines = [delimiter.join(fields) + last] if header else []
        return "".join(
            f"{line}\n" for line in [*lines, *(delimiter.join(row[field] for field in fields) + last for row in rows)]
        )
    lines = []
    if header:
        lines = ["".join(lay_out(field, 10, to_the_right=True) + " " for field in fields), "---------- " * len(fields)]
    lines += ["".join(lay_out(row[field], 10, to_the_right=True, cut_mark="+") + " " for field in fields) for row in rows]
    return "".join(f"{line}\n" for line in lines)
