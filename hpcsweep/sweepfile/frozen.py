"""Settings as run.json keeps them. Nothing heavy is imported here: ``status`` reads settings too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hpcsweep.errors import HpcsweepError
from hpcsweep.model import Change, Container, Finally, MetricsFrom, Retry, RetryRule, Settings, Signal, Snapshot, Stage

_NAMES = {"finally_": "finally"}

_TUPLES = ("link", "replicates")


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Settings as plain JSON data; ``settings_from_json`` reads it back."""
    return {_NAMES.get(name, name): value for name, value in _plain(settings).items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def settings_from_json(data: Mapping[str, Any]) -> Settings:
    """The settings of a run.

    A key that is missing (an older run) has its default; a key that this version does not know (a newer minor version) is
    left out, since a run whose format changed in meaning has a higher ``format`` and is refused before.

    Raises:
        HpcsweepError: the data is no settings at all.
    """
    try:
        values = _known(Settings, {_field(name): value for name, value in data.items()})
        for name in _TUPLES:
            if name in values:
                values[name] = tuple(values[name])
        values["metrics"] = tuple(
            one if isinstance(one, str) else MetricsFrom(**_known(MetricsFrom, one)) for one in values.get("metrics", ())
        )
        values["command"] = _command(values.get("command"))
        if isinstance(values.get("gpus_from"), list):
            values["gpus_from"] = tuple(values["gpus_from"])
        if values.get("gpus") is not None:
            values["gpus"] = tuple(values["gpus"])
        if values.get("container") is not None:
            container = _known(Container, values["container"])
            values["container"] = Container(**container | {"bind": tuple(container.get("bind", ()))})
        if values.get("snapshot") is not None:
            snapshot = _known(Snapshot, values["snapshot"])
            lists = {name: tuple(snapshot.get(name, ())) for name in ("include", "exclude", "link")}
            values["snapshot"] = Snapshot(**snapshot | lists)
        if values.get("retry") is not None:
            values["retry"] = _retry(values["retry"])
        if values.get("signal") is not None:
            values["signal"] = Signal(**_known(Signal, values["signal"]))
        if values.get("stage") is not None:
            values["stage"] = Stage(**{name: tuple(paths) for name, paths in _known(Stage, values["stage"]).items()})
        if values.get("finally_") is not None:
            last = _known(Finally, values["finally_"])
            values["finally_"] = Finally(**last | {"command": _command(last["command"])})
        return Settings(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise HpcsweepError(
            f"the settings in run.json cannot be read: {error}", "the file is damaged; sweep.yaml beside it is the original"
        ) from error


def _retry(data: Mapping[str, Any]) -> Retry:
    rules = {}
    for state, written in data["rules"].items():
        rule = _known(RetryRule, written)
        for name in ("memory", "time"):
            if rule.get(name) is not None:
                rule[name] = Change(**_known(Change, rule[name]))
        rules[state] = RetryRule(**rule)
    return Retry(rules=rules, attempts=data["attempts"])


def _field(name: str) -> str:
    return next((field for field, written in _NAMES.items() if written == name), name)


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def _command(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
