"""The strict YAML reader: a text becomes a tree of nodes that know their places, or faults.

Here is what comes before the YAML: bytes, encodings, characters. yaml_builder makes the tree.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from hpcsweep.errors import Faults, Place
from hpcsweep.sweepfile.nodes import Mapping, Node, Scalar, kind_of
from hpcsweep.sweepfile.scalars import ScalarError, parse_scalar
from hpcsweep.sweepfile.yaml_builder import Builder

MAX_BYTES = 10_000_000
_NEW_LINE = re.compile("\r\n|\r|\n")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
# YAML 1.2 takes these for ordinary characters of a text; PyYAML breaks lines at some and refuses the others.
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SPARE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


def read_yaml(text: str | bytes, file: str, faults: Faults) -> Node | None:
    """Read one YAML document whose top level is a mapping.

    Everything wrong goes to ``faults`` with its place; the source lines of ``file`` are remembered there. After a fault the
    result is what can be made of the rest, so that its faults are found in the same go: the keys of top-level blocks that are
    no YAML have an empty value, and further faults in such lines are not taken. It is None when there is no telling.
    """
    document, _ = _read_document(text, file, faults)
    if document is None:
        return None
    if not isinstance(document, Mapping):
        hint = "write 'key: value' lines"
        if isinstance(document, Scalar) and ":" in document.text:
            hint = "a space is missing after the colon"
        faults.add(document.place, f"the top level must be a mapping, not {kind_of(document)}", hint)
        return None
    return document


def read_value(text: str, file: str, faults: Faults) -> Node | None:
    """Read one value of the command line (``-p``, ``--set``) by the same rules.

    What begins with ``[``, ``{`` or a quote is YAML; anything else is one value without quotes, whatever is in it, so that
    ``command=run: x # 1`` and ``resources.memory={{ 8 * width }}G`` need no second pair of quotes. ``file`` names the option
    in messages.
    """
    stripped = text.strip(" \t\r\n")
    is_expression = stripped.startswith(("{{", "{%"))
    if stripped.startswith(("[", "{", '"', "'")) and not is_expression:
        node, is_faulty = _read_document(stripped, file, faults)
        return None if is_faulty else node
    faults.add_text(file, stripped)
    place = Place(file=file, line=1, column=1)
    control = _CONTROLS.search(stripped)
    if control and (control[0] == "\0" or control[0] >= "\ud800"):
        faults.add(place, "a NUL character cannot be in a value" if control[0] == "\0" else "this is not UTF-8")
        return None
    try:
        return Scalar(place=place, value=parse_scalar(stripped), text=stripped)
    except ScalarError as error:
        faults.add(place, str(error), error.hint)
        return None


def comment_cut(node: Node | None) -> str:
    """The comment that ended a value without quotes, or "": in ``command: echo a # b`` it is ``# b``.

    For texts such as ``command`` and ``setup``, where `` #`` may have been meant to belong to the value.
    """
    return node.comment if isinstance(node, Scalar) and node.plain else ""


def _read_document(text: str | bytes, file: str, faults: Faults) -> tuple[Node | None, bool]:
    """The document, and whether anything is wrong with it."""
    decoded = _decode(text, file, faults)
    if decoded is None:
        return None, True
    lines = _NEW_LINE.split(decoded)
    faults.add_text(file, decoded)
    has_controls = _report_controls(lines, file, faults)
    if has_controls:
        decoded = _CONTROLS.sub("x", decoded)
    swapped = dict(zip(sorted(set(_ODD.findall(decoded))), _spare_characters(decoded), strict=False))
    decoded = decoded.translate(str.maketrans(swapped))
    back = {spare_one: odd for odd, spare_one in swapped.items()}
    builder = Builder(file=file, lines=_NEW_LINE.split(decoded), faults=faults, odd=back)
    document = builder.read(decoded)
    return (None if has_controls else document), (has_controls or builder.is_faulty)


def _spare_characters(text: str) -> Iterator[str]:
    """Characters that neither are in the text nor can come from an escape in it."""
    present = set(text)
    escapes = text.lower() if "\\" in text else ""
    codes = itertools.chain(*_SPARE)
    return (chr(code) for code in codes if chr(code) not in present and f"{code:04x}" not in escapes)


def _decode(text: str | bytes, file: str, faults: Faults) -> str | None:
    whole = Place(file=file)
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        faults.add(whole, f"the file is larger than {MAX_BYTES:,} bytes", "put long lists of values into a csv: file")
        return None
    if isinstance(text, bytes):
        try:
            text = str(text, "utf-8")
        except UnicodeDecodeError as error:
            lines = _NEW_LINE.split(error.object[: error.start].decode("utf-8", "replace"))
            faults.add_text(file, error.object.decode("utf-8", "replace"))
            is_utf16 = error.object.startswith((b"\xff\xfe", b"\xfe\xff"))
            hint = f"save it as UTF-8{'; this looks like UTF-16' if is_utf16 else ''}"
            place = Place(file=file, line=len(lines), column=len(lines[-1]) + 1)
            faults.add(place, "the file is not UTF-8", hint)
            return None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        faults.add(whole, "the file is empty", "a sweep file has at least 'space:' and 'command:'")
        return None
    return text


def _report_controls(lines: list[str], file: str, faults: Faults) -> bool:
    found = False
    for number, line in enumerate(lines, 1):
        control = _CONTROLS.search(line)
        if control:
            code = ord(control[0])
            hint = f'inside double quotes it is written "\\x{code:02x}"'
            if code == 0:
                hint = "no value can hold a NUL character"
            elif code > 0x1F:
                hint = "save the file as UTF-8"
            place = Place(file=file, line=number, column=control.start() + 1)
            faults.add(place, f"a character that may not be in YAML (U+{code:04X})", hint)
            if found:
                break
            found = True
    return found
