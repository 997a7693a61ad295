"""How faults are shown."""

from __future__ import annotations

import pytest

from hpcsweep.errors import Fault, Place, cut_line


@pytest.mark.parametrize("column", [1, 2, 80, 81, 82, 500, 919, 920, 921, 1000, 1001])
def test_a_long_line_is_cut_around_the_fault(column):
    line = "".join(chr(0x4E00 + number) for number in range(1000))
    short, at = cut_line(line, column)
    assert len(short) <= 168
    assert line[column - 1 :][:1] == short[at - 1 :][:1]
    shown = str(Fault(place=Place(file="x.yaml", line=1, column=column), message="wrong", source_line=line)).split("\n")
    assert shown[2].index("^") - 4 == at - 1


def test_a_short_line_is_whole():
    assert cut_line("a: b", 4) == ("a: b", 4)
    assert cut_line("x" * 1000, 0)[1] == 0
