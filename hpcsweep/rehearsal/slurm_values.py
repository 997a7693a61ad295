"""Slurm's ways to write times, sizes, lists of nodes and lists of array elements. Pure: text to values and back."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence

from hpcsweep.rehearsal.indices import Indices, count, each, pack

_SIZE_UNITS = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_MOST_ELEMENTS = 4_000_001  # the largest MaxArraySize that there is
_CLOCK_WORDS = {"midnight": "00:00", "noon": "12:00", "fika": "15:00", "teatime": "16:00"}


def parse_time_limit(text: str) -> int | None:
    """``30`` (minutes), ``1:30``, ``1:30:00``, ``1-12``, ``1-12:00:00`` -> whole minutes, rounded up; None: no limit.

    Raises:
        ValueError: for anything else.
    """
    if text.lower() in {"infinite", "unlimited", "-1"}:
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    days, first, second, third = match.groups()
    if days is not None or third is not None:
        hours, minutes, seconds = first, second, third
    else:
        hours, minutes, seconds = None, first, second
    total = ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return -(-total // 60) or None


def parse_megabytes(text: str) -> int:
    """``100``, ``100M``, ``1G``, ``10MB``, ``2048K`` -> MB.

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    return -(-int(match[1]) // 1024) if match[2].upper() == "K" else int(int(match[1]) * _SIZE_UNITS[match[2].upper()])


def format_megabytes(size_mb: int) -> str:
    """``100M``, ``1G``, ``1.50G``: a larger unit only where its half divides it."""
    if size_mb == 0:
        return "0"
    number, unit = float(size_mb), 0
    while number >= 1024 and number % 512 == 0:
        number, unit = number / 1024, unit + 1
    return (f"{number:.0f}" if number.is_integer() else f"{number:.2f}") + "MGTP"[unit]


def format_elapsed(seconds: float) -> str:
    """Squeue's ``0:07``, ``1:30:00``, ``1-02:30:00``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_duration(seconds: float) -> str:
    """``00:00:07``, ``1-02:30:00``: what sacct and scontrol print."""
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def format_moment(epoch: float, zone: dt.tzinfo | None) -> str:
    """``2026-11-28T18:03:09``."""
    return f"{dt.datetime.fromtimestamp(int(epoch), zone):%Y-%m-%dT%H:%M:%S}"


def parse_moment(text: str, now: float, zone: dt.tzinfo | None) -> float:
    """``now+60``, ``now-1hour``, ``tomorrow``, ``16:00``, ``2030-01-02T03:04``, ``01/02/30`` -> epoch.

    Raises:
        ValueError: its argument is the position at which it goes wrong.
    """
    if match := re.fullmatch(r"uts(\d+)", text, re.ASCII):
        return float(match[1])
    if match := re.match(r"now\b", text):
        return now + _parse_offset(text)
    today = dt.datetime.fromtimestamp(now, zone)
    day, words = _parse_day(text, today)
    moment = day or today
    if words:
        hour, minute, second = _parse_clock(_CLOCK_WORDS.get(words.lower(), words))
        moment = moment.replace(hour=hour, minute=minute, second=second, microsecond=0)
        if day is None and moment <= today:
            moment += dt.timedelta(days=1)
    else:
        moment = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return moment.timestamp()


def _parse_offset(text: str) -> float:
    if text == "now":
        return 0
    match = re.fullmatch(r"now([+-])(\d+)(second|minute|hour|day|week)?s?", text, re.ASCII)
    if match is None:
        raise ValueError(4 if re.match(r"now[+-]\d", text) else 3)
    return (1 if match[1] == "+" else -1) * int(match[2]) * _SECONDS[match[3] or "second"]


def _parse_day(text: str, today: dt.datetime) -> tuple[dt.datetime | None, str]:
    """The day that it begins with, and what of it is left."""
    for word, days in (("today", 0), ("tomorrow", 1)):
        if text == word:
            return today + dt.timedelta(days=days), ""
    for pattern, year, month, day in (
        (r"(\d{4})-(\d\d?)-(\d\d?)(?:[T ]|$)", 1, 2, 3),
        (r"(\d\d?)/(\d\d?)/(\d\d)(?:-|$)", 3, 1, 2),
        (r"(\d\d)(\d\d)(\d\d)(?:-|$)", 3, 1, 2),
    ):
        if match := re.match(pattern, text, re.ASCII):
            full = int(match[year]) + (2000 if len(match[year]) == 2 else 0)
            try:
                return today.replace(year=full, month=int(match[month]), day=int(match[day])), text[match.end() :]
            except ValueError:
                raise ValueError(0) from None
    return None, text


def _parse_clock(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d\d?):(\d\d)(?::(\d\d))?(?: ?([AP])M)?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise ValueError(0)
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if match[4]:
        hour = hour % 12 + (12 if match[4].upper() == "P" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(0)
    return hour, minute, second


def parse_array(text: str) -> tuple[Indices, int]:
    """``0-9,12%4``, ``[0-30:3]`` -> the elements, ascending, and the throttle (0: none).

    Raises:
        ValueError: for what sbatch calls an invalid job array specification.
    """
    written, _, most = text.partition("%")
    throttle = int(most) if re.fullmatch(r"\d+", most, re.ASCII) else 0  # other words are no throttle
    parts = []
    for part in filter(None, map(str.strip, written.replace("[", "").replace("]", "").split(","))):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?", part, re.ASCII)
        stretch = range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1) or 1) if match else range(0)
        if not stretch or match is None or match[3] == "0":
            raise ValueError(text)
        parts.append(stretch)
    if not parts or count(parts) > _MOST_ELEMENTS:
        raise ValueError(text)
    return (parts if len(parts) == 1 else pack(sorted(set(each(parts))))), throttle


def format_array(indices: Iterable[range], *, throttle: int = 0, length: int = 64) -> str:
    """``11-37,39``, ``0-99:3%4``: cut so as to fit a buffer of ``length`` bytes; 0: never cut."""
    stretches = _stretches(indices)
    text = _format_steps(stretches) or ",".join(str(first) if first == last else f"{first}-{last}" for first, last in stretches)
    if 0 < length < len(text) + 3:
        text = text[: length - 4] + "..."
    return f"{text}%{throttle}" if throttle else text


def _stretches(indices: Iterable[range]) -> list[tuple[int, int]]:
    """First and last of each, ascending, neighbours joined."""
    joined: list[tuple[int, int]] = []
    single = (part if part.step == 1 else [range(number, number + 1) for number in part] for part in indices)
    flat = [part for parts in single for part in ([parts] if isinstance(parts, range) else parts)]
    for part in sorted(flat, key=lambda part: part.start):
        if joined and part[0] <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], part[-1]))
        else:
            joined.append((part[0], part[-1]))
    return joined


def _format_steps(stretches: Sequence[tuple[int, int]]) -> str:
    """``0-99:3`` where seven single numbers or more stand at one distance."""
    if len(stretches) < 7:
        return ""
    step = stretches[1][0] - stretches[0][0]
    is_even = all(first == last == stretches[0][0] + place * step for place, (first, last) in enumerate(stretches))
    return f"{stretches[0][0]}-{stretches[-1][1]}:{step}" if is_even else ""


def expand_hosts(text: str) -> Iterator[str]:
    """``n[01-03,7],m`` -> n01 n02 n03 n7 m."""
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if match is None:
            yield part
            continue
        for stretch in match[2].split(","):
            low, _, high = stretch.partition("-")
            for number in range(int(low), int(high or low) + 1):
                yield f"{match[1]}{number:0{len(low)}}{match[3]}"


def fold_hosts(names: Iterable[str]) -> str:
    """n1 n2 n3 n5 -> ``n[1-3,5]``; other names as they are, with commas."""
    numbered: dict[str, list[int]] = {}
    folded = []
    for name in names:
        match = re.fullmatch(r"(.*?)(0|[1-9]\d*)", name, re.ASCII)
        if match is None:
            folded.append(name)
        else:
            numbered.setdefault(match[1], []).append(int(match[2]))
    for prefix, numbers in numbered.items():
        folded.append(prefix + (str(numbers[0]) if len(numbers) == 1 else f"[{_join(numbers)}]"))
    return ",".join(folded)


def _join(numbers: Iterable[int]) -> str:
    stretches = _stretches(range(number, number + 1) for number in numbers)
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in stretches)


def lay_out(text: str, width: int, *, to_the_right: bool = False, cut_mark: str = "") -> str:
    """In a column of ``width`` characters (0: as wide as it is), cut to it."""
    if width <= 0:
        return text
    if len(text) > width:
        text = text[: width - len(cut_mark)] + cut_mark
    return text.rjust(width) if to_the_right else text.ljust(width)
