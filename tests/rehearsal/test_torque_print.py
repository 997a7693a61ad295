"""What the printers make of records, held to what a real Torque printed of the same jobs (tests/data/torque/)."""

import calendar
import re
import time
import xml.etree.ElementTree as ET  # our own recordings
from pathlib import Path

import pytest

from hpcsweep.rehearsal.torque_print import (
    Attribute,
    Extra,
    Record,
    full_text,
    list_text,
    queues_limits_text,
    queues_text,
    server_text,
    wide_text,
    xml_text,
)

DATA = Path(__file__).parent.parent / "data/torque"
TIMES = {"ctime", "etime", "mtime", "qtime", "start_time", "comp_time"}


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def records_of_xml(name):
    records = []
    for job in ET.fromstring((DATA / name).read_text()):  # noqa: S314
        attributes = []
        for element in list(job)[1:]:
            if len(element):
                attributes += [Attribute(element.tag, child.text or "", child.tag) for child in element]
            else:
                attributes.append(Attribute(element.tag, element.text or ""))
        records.append(Record(identifier=job[0].text, attributes=attributes))
    return records


def records_of_text(name):
    records = []
    for line in (DATA / name).read_text().replace("\n\t", "").splitlines():
        if found := re.fullmatch(r"(?:Job Id|Queue): (.*)", line):
            records.append(Record(identifier=found[1], attributes=[]))
        elif found := re.fullmatch(r"    (\w+)(?:\.(\w+))? = (.*)", line):
            value = str(calendar.timegm(time.strptime(found[3]))) if found[1] in TIMES and "-Qf" not in name else found[3]
            resource = "Remaining" if found[2] == "Exceeded" else found[2] or ""
            records[-1].attributes.append(Attribute(found[1], value, resource))
    return records


@pytest.mark.parametrize("name", sorted(p.name for p in DATA.glob("*.xml")))
def test_xml(name):
    assert xml_text(records_of_xml(name)) == (DATA / name).read_text()


@pytest.mark.parametrize(
    "name", ["01-mixed-qstat-f.txt", "01-mixed-qstat-tf.txt", "02-after-qdel-qstat-f.txt", "02-after-qdel-qstat-tf.txt"]
)
def test_full(name):
    assert full_text(records_of_text(name)) == (DATA / name).read_text()


def test_queues_in_full():
    name = "01-mixed-qstat-Qf.txt"
    assert full_text(records_of_text(name), title="Queue") == (DATA / name).read_text()


def of_somebody(records):
    """The recordings had a user with a name of 7 letters, who was called "user" when all was printed."""
    for record in records:
        record.attributes[:] = [a._replace(value="sevenly@torque") if a.name == "Job_Owner" else a for a in record.attributes]
    return records


@pytest.mark.parametrize("moment", ["01-mixed", "02-after-qdel"])
def test_lists(moment):
    for option, listed in (("", "f-x"), ("-t", "t-f-x")):
        printed = list_text(of_somebody(records_of_xml(f"{moment}-qstat-{listed}.xml"))).replace("sevenly", "user")
        assert printed == (DATA / f"{moment}-qstat{option}.txt").read_text()


def test_wide_lists():
    printed = wide_text("torque", of_somebody(records_of_xml("01-mixed-qstat-f-x.xml"))).replace("sevenly", "user")
    assert printed == (DATA / "01-mixed-qstat-a.txt").read_text()
    expected = (DATA / "01-mixed-qstat-u-t.txt").read_text()
    printed = wide_text("torque", of_somebody(records_of_xml("01-mixed-qstat-t-f-x.xml"))).replace("sevenly", "user")
    a_second_later = re.compile(r"00:00:[0-9]{2}$", re.MULTILINE)
    assert a_second_later.sub("", printed) == a_second_later.sub("", expected)


def test_nothing_to_list_prints_nothing():
    assert list_text([]) == ""
    assert wide_text("torque", []) == ""
    assert xml_text([]) == '<?xml version="1.0"?>\n<Data></Data>\n'
    assert full_text([]) == ""


def job(identifier="1.torque", **values):
    rest = {"Job_Name": "s.sh", "Job_Owner": "user@torque", "job_state": "Q", "queue": "batch", **values}
    return Record(identifier=identifier, attributes=[Attribute(name, value) for name, value in rest.items()])


def test_a_long_name_shows_its_end():
    assert list_text([job(Job_Name="abcdefghijklmnopqrst")]).splitlines()[2].split()[1] == "...hijklmnopqrst"
    assert list_text([job(Job_Name="abcdefghijklmn/pqrst")]).splitlines()[2].split()[1] == ".../pqrst"


def test_nodes_and_comments_stand_below_a_job():
    lines = wide_text("torque", [job(exec_host="n1/0+n1/1", comment="why")], Extra(nodes=True, comment=True)).splitlines()
    assert lines[-2:] == ["   n1/0+n1/1", "   why"]
    assert wide_text("torque", [job(exec_host="n1/0")], Extra(nodes=True, one_line=True)).splitlines()[-1].endswith("   n1/0")


def test_queues_and_server_in_short():
    queue = Record(
        identifier="batch",
        attributes=[
            Attribute("queue_type", "Execution"),
            Attribute("total_jobs", "28"),
            Attribute("state_count", "Transit:0 Queued:0 Held:10 Waiting:0 Running:6 Exiting:0 Complete:12 "),
            Attribute("resources_max", "01:00:00", "walltime"),
            Attribute("enabled", "True"),
            Attribute("started", "True"),
        ],
    )
    assert queues_text([queue]).splitlines() == [
        "Queue              Max    Tot   Ena   Str   Que   Run   Hld   Wat   Trn   Ext T   Cpt",
        "----------------   ---   ----    --    --   ---   ---   ---   ---   ---   --- -   ---",
        "batch                0     28   yes   yes     0     6    10     0     0     0 E    12",
    ]
    assert "batch              --      --    01:00:00   --    6  10 --   E R" in queues_limits_text("torque", [queue])
    assert server_text(queue).splitlines()[2].split() == ["batch", "0", "28", "0", "6", "10", "0", "0", "0", "12"]
