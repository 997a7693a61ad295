"""Layers of settings: the user's file, the project's, a profile in each, the sweep file, the command line."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcsweep.errors import Faults, Place
from hpcsweep.sweepfile import nodes
from hpcsweep.sweepfile.resources import RESOURCE_ALIASES
from hpcsweep.sweepfile.setting_kinds import SCHEDULER_KEYS
from hpcsweep.sweepfile.settings import KEYS, SPACE_KEYS, add_unknown_key
from hpcsweep.sweepfile.yaml_reader import read_yaml

_NOT_IN_PROFILES = (*SPACE_KEYS, "command")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One mapping of settings; ``label`` says which (``profile alpine``, ``--set``); empty for a file's own top keys."""

    label: str
    mapping: nodes.Mapping


@dataclass(frozen=True, kw_only=True)
class ProfileLayers:
    """What the configuration files give, lowest first, and the profile that was chosen (None: no profile)."""

    layers: tuple[Layer, ...] = ()
    profile: str | None = None


def read_profiles(
    profiles: Sequence[tuple[str, str]], *, profile: str | None, environ: Mapping[str, str], host: str, faults: Faults
) -> ProfileLayers:
    """The layers of the configuration files, each file's chosen profile over the file's own keys.

    Args:
        profiles: (path, text) of the files, the user's before the project's.
        profile: ``--profile``; without it HPCSWEEP_PROFILE counts, then the first ``match`` for ``host``, the project's file first.
        environ: the environment variables.
        host: this machine's name, in full where it is known.
        faults: where faults go.
    """
    files: list[tuple[nodes.Mapping, dict[str, nodes.Mapping]]] = []
    for path, text in profiles:
        if not text.strip() or _is_comment_only(text):
            continue  # an empty sweep file is a fault, an empty configuration is none
        tree = read_yaml(text, path, faults)
        if isinstance(tree, nodes.Mapping):
            files.append(_read_file(tree, faults))
    name = profile or environ.get("HPCSWEEP_PROFILE") or None
    known = [found for _, sections in files for found in sections]
    if name is None:
        name = next(
            (found for _, sections in reversed(files) for found, section in sections.items() if is_match(section, host)), None
        )
    elif name not in known:
        place = Place(file="--profile" if profile else "HPCSWEEP_PROFILE")
        close = difflib.get_close_matches(name, known, n=1)
        hint = "known are " + ", ".join(dict.fromkeys(known)) if known else "no configuration file has a `profiles:`"
        faults.add(place, f"there is no profile `{name}`", f"did you mean `{close[0]}`?" if close else hint)
    layers = []
    for top, sections in files:
        layers.append(Layer(label="", mapping=top))
        if name in sections:
            layers.append(Layer(label=f"profile {name}", mapping=sections[name]))
    return ProfileLayers(layers=tuple(layers), profile=name)


def _is_comment_only(text: str) -> bool:
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.removeprefix("\ufeff").splitlines())


def _read_file(tree: nodes.Mapping, faults: Faults) -> tuple[nodes.Mapping, dict[str, nodes.Mapping]]:
    """The file's own settings, and its profiles by name."""
    sections: dict[str, nodes.Mapping] = {}
    own = []
    for key, node in tree:
        if key.text != "profiles":
            own.append((key, node))
        elif isinstance(node, nodes.Mapping):
            for name, section in node:
                if isinstance(section, nodes.Mapping):
                    sections[name.text] = section
                else:
                    faults.add(
                        section.place,
                        f"profiles.{name.text}: expected a mapping of settings",
                        "alpine: {match: login*, scheduler: slurm}",
                    )
        elif not (isinstance(node, nodes.Scalar) and node.value is None):
            faults.add(
                node.place, "profiles: expected a mapping of names", "profiles: {alpine: {match: login*, scheduler: slurm}}"
            )
    top = nodes.Mapping(place=tree.place, entries=tuple(own))
    for mapping, is_profile in ((top, False), *((section, True) for section in sections.values())):
        _check_keys(mapping, faults, is_profile=is_profile)
    return top, sections


def _check_keys(mapping: nodes.Mapping, faults: Faults, *, is_profile: bool) -> None:
    for key, node in mapping:
        if key.text == "match":
            if not is_profile:
                faults.add(key.place, "`match` belongs into a profile", "profiles: {alpine: {match: login*}}")
            elif not _patterns(node):
                faults.add(
                    node.place, "match: expected a host name's pattern, or a list of them", "match: login*.alpine.example.org"
                )
        elif key.text in _NOT_IN_PROFILES:
            faults.add(
                key.place, f"`{key.text}` belongs into a sweep file, not into a configuration file", "move it to the sweep file"
            )
        elif key.text not in KEYS and is_profile and difflib.get_close_matches(key.text, ("match",), 1, 0.7):
            faults.add(key.place, f"unknown key `{key.text}`", "did you mean `match`?")
        elif key.text not in KEYS:
            add_unknown_key(key, faults)


def _patterns(node: nodes.Node | None) -> tuple[str, ...]:
    items = node.items if isinstance(node, nodes.Sequence) else (node,)
    found = tuple(item.value for item in items if isinstance(item, nodes.Scalar) and isinstance(item.value, str))
    return found if len(found) == len(items) else ()


def is_match(section: nodes.Mapping, host: str) -> bool:
    """Whether a profile's ``match`` names this host, by its full or its short name; letters' case does not count."""
    names = {host.lower(), host.lower().partition(".")[0]}
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in _patterns(section.get("match")) for name in names)


def merge_layers(layers: Sequence[Layer]) -> tuple[nodes.Mapping, dict[str, str]]:
    """All layers in one mapping, the later over the earlier, and where each setting came from (dotted key -> text).

    Mappings are merged key by key; lists and single values replace. Null takes a setting of a lower layer away.
    Nodes keep their places, so that a fault still points into the file where the value is written.
    """
    merged = nodes.Mapping(place=Place(file=""), entries=())
    origins: dict[str, str] = {}
    for layer in layers:
        mapping = _canonical_keys(layer)
        merged = _lay_over(merged, mapping, layer.label, "", origins)
    return merged, origins


def _canonical_keys(layer: Layer) -> nodes.Mapping:
    """A profile's ``match`` is left out; ``queue`` is called ``partition``, so that a later layer's word wins over an earlier one's."""
    entries: list[tuple[nodes.Scalar, nodes.Node]] = []
    for key, node in layer.mapping:
        if key.text == "resources" and isinstance(node, nodes.Mapping):
            taken = {inner.text for inner, _ in node}
            renamed = tuple(
                (
                    nodes.Scalar(place=inner.place, value=RESOURCE_ALIASES[inner.text], text=RESOURCE_ALIASES[inner.text])
                    if inner.text in RESOURCE_ALIASES and RESOURCE_ALIASES[inner.text] not in taken
                    else inner,
                    value,
                )
                for inner, value in node
            )
            entries.append((key, nodes.Mapping(place=node.place, entries=renamed)))
        elif key.text != "match" or not layer.label.startswith("profile"):
            entries.append((key, node))
    return nodes.Mapping(place=layer.mapping.place, entries=tuple(entries))


def _lay_over(base: nodes.Mapping, over: nodes.Mapping, label: str, prefix: str, origins: dict[str, str]) -> nodes.Mapping:
    entries = {key.text: (key, node) for key, node in base}
    for key, node in over:
        dotted = prefix + key.text
        below = entries.get(key.text, (None, None))[1]
        is_deep = key.text in _DEEP if not prefix else True
        if is_deep and isinstance(node, nodes.Mapping):
            old = below if isinstance(below, nodes.Mapping) else nodes.Mapping(place=node.place, entries=())
            if old is not below:
                _forget(dotted, origins)
            entries[key.text] = (key, _lay_over(old, node, label, dotted + ".", origins))
            continue
        _forget(dotted, origins)
        if isinstance(node, nodes.Scalar) and node.value is None and (prefix or key.text in KEYS):
            entries.pop(key.text, None)
            continue
        entries[key.text] = (key, node)
        origins[dotted] = _origin(label, key.place)
    return nodes.Mapping(place=over.place, entries=tuple(entries.values()))


_DEEP = ("resources", *SCHEDULER_KEYS, "array", "env", "files", "container", "retry", "finally", "snapshot", "signal", "stage")


def _forget(dotted: str, origins: dict[str, str]) -> None:
    for known in [known for known in origins if known == dotted or known.startswith(dotted + ".")]:
        del origins[known]


def _origin(label: str, place: Place) -> str:
    where = f"{place.file}:{place.line}" if place.line else place.file
    if not label or label == where:
        return where
    return label if label.startswith("--") else f"{label} ({where})"
