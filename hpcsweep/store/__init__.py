"""The only writer of a run directory on the submitting side."""

from hpcsweep.store import cache
from hpcsweep.store.attempts import ClaimFacts, give_up, give_up_all, mark_cancel, parse_claim, read_claim, revoke, revoke_all
from hpcsweep.store.files import create_exclusively, read_bytes, read_text, sharing, write_atomically
from hpcsweep.store.journal import Journal, JournalReading, read_events, write_first_events
from hpcsweep.store.layout import CODE_DIFF, ArrayPaths, EventsGone, RunPaths, absolute_as_written, list_events
from hpcsweep.store.lock import RunLock, acquire
from hpcsweep.store.run_files import (
    FORMAT,
    append_tasks,
    counted_bytes,
    make_array_folders,
    read_run_json,
    read_tasks,
    write_chunks,
    write_run_json,
    write_tasks,
)
from hpcsweep.store.runs_dir import (
    check_run_name,
    create_run_dir,
    discard_run_dir,
    find_run,
    is_in_place,
    list_runs,
    missing_folders,
)

__all__ = [
    "CODE_DIFF",
    "FORMAT",
    "ArrayPaths",
    "ClaimFacts",
    "EventsGone",
    "Journal",
    "JournalReading",
    "RunLock",
    "RunPaths",
    "absolute_as_written",
    "acquire",
    "append_tasks",
    "cache",
    "check_run_name",
    "counted_bytes",
    "create_exclusively",
    "create_run_dir",
    "discard_run_dir",
    "find_run",
    "give_up",
    "give_up_all",
    "is_in_place",
    "list_events",
    "list_runs",
    "make_array_folders",
    "mark_cancel",
    "missing_folders",
    "parse_claim",
    "read_bytes",
    "read_claim",
    "read_events",
    "read_run_json",
    "read_tasks",
    "read_text",
    "revoke",
    "revoke_all",
    "sharing",
    "write_atomically",
    "write_chunks",
    "write_first_events",
    "write_run_json",
    "write_tasks",
]
