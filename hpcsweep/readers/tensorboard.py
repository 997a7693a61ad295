"""TensorBoard event files: the scalars of either style (``simple_value``, and tensors of the plugin ``scalars``).

The messages are read by the package tensorboard, an extra of this one; their framing is TFRecord's: the length (8 bytes,
little endian), its checksum, the message, its checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from hpcsweep.model import Value
from hpcsweep.readers.base import Reading, Rows, Source, count_of

VERSION = 1
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEADER_BYTES = _LENGTH.size + _CHECKSUM.size
_MOST_BYTES = 64 << 20
_STEP = "step"
_WRITTEN_AS = "brain.Event:"


def recognises(source: Source) -> bool:
    """Whether it has the name of an event file, or begins as one does."""
    if ".tfevents." in source.base:
        return True
    head = source.head
    return len(head) > _HEADER_BYTES and _WRITTEN_AS.encode() in head[:64] and _length_of(head[:_HEADER_BYTES]) is not None


def read(source: Source) -> Reading:
    """One row a step. The end may be cut off, as long as the writer is alive and when it was killed."""
    try:
        from tensorboard.compat.proto import event_pb2  # noqa: PLC0415 - an extra
    except ImportError:
        return Reading(notes=("needs the package tensorboard: pip install 'hpcsweep[tensorboard]'",), is_lasting=False)
    except Exception as error:  # noqa: BLE001 - two versions that do not go together say so in many ways
        problem = f"the package tensorboard cannot be imported: {type(error).__name__}: {error}".splitlines()[0]
        return Reading(notes=(problem,), is_lasting=False)
    folder = source.file.rpartition("/")[0].rpartition("/")[2]
    rows = Rows()
    row: dict[str, Value] = {}
    notes: list[str] = []
    damaged = others = 0
    for data, checksum in _iter_records(source.open(), notes):
        try:
            event = event_pb2.Event.FromString(data)
        except Exception:  # noqa: BLE001 - DecodeError, of a package that is not ours
            damaged += 1
            continue
        scalars = [(_name(value.tag, folder), number) for value in event.summary.value for number in _numbers(value)]
        others += len(event.summary.value) > len(scalars)
        if scalars and _masked(data) != checksum:
            damaged += 1
            continue
        for name, number in scalars:
            if row.get(_STEP) != event.step or name in row:
                row = {_STEP: event.step}
                rows.add(row)
            row[name] = number
    if damaged:
        notes.append(f"{count_of(damaged, 'record')} left out: damaged")
    if not rows.count and others:
        notes.append("has no scalars")
    kept, more = rows.close()
    return Reading(rows=kept, notes=(*notes, *more))


def _iter_records(stream: BinaryIO, notes: list[str]) -> Iterator[tuple[bytes, int]]:
    """Each message with the checksum that it should have, as far as they can be told apart."""
    while header := stream.read(_HEADER_BYTES):
        length = _length_of(header)
        if length is None:
            # What a node that went down leaves behind, zeros, has no valid checksum either.
            notes.append(
                "the end is cut off and left out" if len(header) < _HEADER_BYTES else "is damaged: what follows is left out"
            )
            return
        if length > _MOST_BYTES:
            stream.seek(length + _CHECKSUM.size, 1)
            continue
        data = stream.read(length + _CHECKSUM.size)
        if len(data) < length + _CHECKSUM.size:
            notes.append("the end is cut off and left out")
            return
        yield data[:length], _CHECKSUM.unpack_from(data, length)[0]


def _length_of(header: bytes) -> int | None:
    if len(header) < _HEADER_BYTES or _masked(header[: _LENGTH.size]) != _CHECKSUM.unpack_from(header, _LENGTH.size)[0]:
        return None
    length: int = _LENGTH.unpack_from(header)[0]
    return length


def _name(tag: str, folder: str) -> str:
    """The metric's name. ``add_scalars`` writes the curves of one tag into folders beside each other, ``loss_train``."""
    if tag == _STEP:
        return f"{_STEP}.2"
    start = tag.replace("/", "_") + "_"
    return f"{tag}/{folder.removeprefix(start)}" if folder.startswith(start) and folder != start else tag


def _numbers(value: Any) -> list[float]:
    """The number of a scalar; nothing for a histogram, a text, a picture."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return [value.simple_value]
    plugin = value.metadata.plugin_data.plugin_name
    tensor = value.tensor if kind == "tensor" and plugin in ("scalars", "") else None
    if tensor is None or any(dim.size != 1 for dim in tensor.tensor_shape.dim):
        return []
    for field in (tensor.float_val, tensor.double_val, tensor.int_val, tensor.int64_val):
        if len(field) == 1:
            return [field[0]]
    form = _FORMS.get((tensor.dtype, len(tensor.tensor_content)))
    return list(struct.unpack(form, tensor.tensor_content)) if form else []


# DataType numbers and sizes of what a scalar's bytes may be: float, double, int32, int64, half.
_FORMS = {(1, 4): "<f", (2, 8): "<d", (3, 4): "<i", (9, 8): "<q", (19, 2): "<e"}


def _make_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901 - the shift register
        table.append(byte)
    return table


_TABLE = _make_table()


def _masked(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C (RFC 3720, B.4), rotated by 15 bits plus a constant."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
