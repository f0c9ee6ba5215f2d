"""Slurm accounting: the formats, and the quirks of the two real dialects."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import accounted, read, rejects, rows, text_of

from orchestration.sources.base import FormatError, Heading
from orchestration.sources.sacct import (
    HB_JOBINFO_FIELDS,
    SACCT,
    SACCT_HB_JOBINFO,
    SACCT_XDMOD,
    XDMOD,
    accelerators_of,
    nodes_of,
    seconds_of,
)

HEADING = "JobID|Cluster|Account|User|Partition|Submit|Start|End|Elapsed|State|AllocTRES|NodeList|NNodes"
DONE = "7|hub-a|lab|ada|gpu|2026-11-20T01:00:00|2026-11-20T02:00:00|2026-11-20T05:00:00|03:00:00|COMPLETED|cpu=8,gres/gpu:h800=8,gres/gpu=8|n[01-02]|2"


def job(**fields: str) -> str:
    """A job's line with some fields changed."""
    values = dict(zip(HEADING.split("|"), DONE.split("|"), strict=True))
    return "|".join((values | fields).values())


def sacct(*lines: str, **options):
    return read(SACCT, "\n".join((HEADING, *lines)), **options)


def test_a_finished_job_gives_every_field(load):
    """A column read from its neighbour would move cost to another account."""
    parsed, (found,) = load(SACCT, f"{HEADING}\n{DONE}")
    assert (parsed.received_count, parsed.loaded_count, parsed.faults) == (1, 1, [])
    assert found["cluster_id"] == "hub-a"
    assert found["job_id"] == "7"
    assert found["tenant_id"] == "lab"
    assert found["partition"] == "gpu"
    assert found["accelerator_id"] == "nvidia-h800"
    assert found["accelerator_count"] == 8
    assert found["submitted_at"] == datetime(2026, 11, 20, 1)
    assert found["started_at"] == datetime(2026, 11, 20, 2)
    assert found["ended_at"] == datetime(2026, 11, 20, 5)
    assert found["node_list"] == "n01,n02"
    assert (found["node_count"], found["restart_count"], found["state"]) == (2, 0, "COMPLETED")
    assert found["start_source"] == "recorded"


def test_columns_may_come_in_any_order_and_with_others():
    """People choose --format; reading by position would take a user for a state."""
    text = "User|State|Comment|JobID|Submit|ReqTRES|\nada|PENDING|x|9|2026-11-20T01:00:00|gres/gpu=4|"
    _, found = read(SACCT, text)
    assert found.values["job_id"] == "9"
    assert found.values["accelerator_count"] == "4"
    assert found.values["cluster_id"] == "source"


@pytest.mark.parametrize("missing", ["JobID", "Submit", "State", "AllocTRES"])
def test_a_file_without_a_column_it_needs_is_refused_whole(missing):
    """Jobs with an unknown state or size must not load as empty ones."""
    with pytest.raises(FormatError, match=missing) as refusal:
        read(SACCT, HEADING.replace(missing, "Reason") + "\n" + DONE)
    assert refusal.value.code == "missing_column"


def test_steps_are_no_jobs():
    """A job's batch step holds the same GPUs again: its hours would count twice."""
    items = sacct(DONE, job(JobID="7.batch"), job(JobID="7.extern"), job(JobID="7.0"))
    assert len(rows(items)) == 1
    assert [type(item) for item in items].count(Heading) == 4
    assert accounted(items) == 5


@pytest.mark.parametrize(
    ("tres", "count", "kind"),
    [
        ("billing=8,gres/gpu:a100=1,gres/gpu=1,mem=1G", 1, "nvidia-a100"),
        ("gres/gpu:a100=2,gres/gpu:v100=1", 3, None),
        ("gres/gpu=4,gres/gpu:a100=2,gres/gpu:v100=2", 4, None),
        ("gres/gpu:ascend910b=16", 16, "ascend-910b"),
        ("gres/gpu:a100_1g.10gb=2", 2, "a100-1g.10gb"),
        ("billing=8,cpu=8,gres/gpumem=40G,node=1", 0, None),
        ("", 0, None),
    ],
)
def test_gpus_are_counted_once(tres, count, kind):
    """Slurm lists the typed GPUs and their total side by side; adding both doubles the hours."""
    assert accelerators_of(tres) == (count, kind)


def test_a_cpu_job_is_kept_with_no_accelerators():
    """Dropping it would hide that the line was received."""
    assert rows(sacct(job(AllocTRES="cpu=8,node=1")))[0].values["accelerator_count"] == "0"


def test_cancelled_by_someone_is_cancelled():
    """The user's number after the state is no part of it, and names a person."""
    assert rows(sacct(job(State="CANCELLED by 380693")))[0].values["state"] == "CANCELLED"


@pytest.mark.parametrize("absent", ["Unknown", "None", ""])
def test_absent_times_are_null(absent):
    """An unknown start read as an instant would make a wait."""
    values = rows(sacct(job(Start=absent, End=absent, State="PENDING", NodeList="None assigned")))[0].values
    assert (values["started_at"], values["ended_at"], values["observed_at"], values["node_list"]) == (None,) * 4


def test_an_open_job_is_known_to_run_as_long_as_it_has_run():
    """Its hours so far are started + elapsed, not up to now."""
    values = rows(sacct(job(State="RUNNING", End="Unknown", Elapsed="1-01:30:00")))[0].values
    assert values["ended_at"] is None
    assert values["observed_at"] == "2026-11-21T03:30:00.000000Z"


def test_a_later_sighting_of_an_open_job_is_another_event_and_the_same_one_is_not():
    """One id for both would quarantine every open job's end as a conflict."""
    early, late, again, end = rows(sacct(
        job(State="RUNNING", End="Unknown", Elapsed="01:00:00"), job(State="RUNNING", End="Unknown", Elapsed="02:00:00"),
        job(State="RUNNING", End="Unknown", Elapsed="02:00:00"), DONE,
    ))
    assert len({early.event_id, late.event_id, end.event_id}) == 3
    assert late.event_id == again.event_id
    assert {row.values["restart_count"] for row in (early, late, again, end)} == {"0"}


def test_a_requeued_job_is_two_attempts():
    """sacct --duplicates lists both; under one key the later would replace the earlier one's hours."""
    first = job(State="NODE_FAIL", End="2026-11-20T03:00:00", Elapsed="01:00:00")
    waiting = job(State="PENDING", Start="Unknown", End="Unknown", Elapsed="00:00:00")
    second = job(Start="2026-11-20T04:00:00", Elapsed="01:00:00")
    found = rows(sacct(first, waiting, second, first))
    assert [row.values["restart_count"] for row in found] == ["0", "1", "1", "0"]
    assert found[0].event_id == found[3].event_id


def test_a_restarts_column_is_taken_at_its_word():
    """A delivery that holds only the second attempt can't number it by order."""
    text = f"{HEADING}|Restarts\n{DONE}|2"
    assert rows(read(SACCT, text))[0].values["restart_count"] == "2"


def test_a_job_id_that_wrapped_is_another_job():
    """Slurm counts ids in a circle; the submission tells two jobs of one id apart."""
    one, other = rows(sacct(DONE, job(Submit="2026-11-19T01:00:00")))
    assert one.event_id != other.event_id
    assert other.values["restart_count"] == "0"


def test_users_are_pseudonyms_and_accounts_come_first():
    """A login name in a mart names a person."""
    named, unnamed = rows(sacct(DONE, job(Account="")))
    assert named.values["tenant_id"] == "lab"
    # sha256("ada") begins with these digits.
    assert unnamed.values["tenant_id"] == "user-fdee430d40bd"
    assert "ada" not in "".join(str(value) for value in unnamed.values.values())


def test_wall_clock_is_utc_unless_the_manifest_names_a_zone_or_the_time_does():
    """A zone missed moves a job by hours and maybe into another day."""
    assert rows(sacct(DONE, timezone="Asia/Shanghai"))[0].values["submitted_at"] == "2026-11-19T17:00:00.000000Z"
    zoned = job(Submit="2026-11-20T01:00:00+08:00", Start="2026-11-19T18:00:00Z")
    values = rows(sacct(zoned, timezone="America/New_York"))[0].values
    assert values["submitted_at"] == "2026-11-19T17:00:00.000000Z"
    assert values["started_at"] == "2026-11-19T18:00:00.000000Z"


def test_an_hour_that_summer_time_repeats_does_not_end_a_job_before_it_starts():
    """02:50 to 02:10 over the end of summer time is twenty minutes; read naively the job is lost."""
    repeated = job(Submit="2026-10-25T02:40:00", Start="2026-10-25T02:50:00", End="2026-10-25T02:10:00")
    values = rows(sacct(repeated, timezone="Europe/Amsterdam"))[0].values
    assert (values["started_at"], values["ended_at"]) == ("2026-10-25T00:50:00.000000Z", "2026-10-25T01:10:00.000000Z")


def test_a_replayed_trace_moves_its_times_and_not_its_ids():
    """An id that moved would load the same jobs twice beside each other."""
    (plain,), (moved,) = rows(sacct(DONE)), rows(sacct(DONE, shift_days=7))
    assert moved.event_id == plain.event_id
    assert moved.values["ended_at"] == "2026-11-27T05:00:00.000000Z"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"State": "DONE"}, "not_allowed"), ({"State": ""}, "not_allowed"), ({"Submit": ""}, "missing"),
        ({"JobID": ""}, "missing"), ({"Start": "yesterday"}, "bad_timestamp"), ({"End": "2026-13-01T00:00:00"}, "bad_timestamp"),
        ({"Submit": "0001-01-01T00:00:00"}, "bad_timestamp"), ({"Elapsed": "3h"}, "bad_duration"),
        ({"AllocTRES": "gres/gpu=two"}, "bad_resources"), ({"NodeList": "n[1-"}, "bad_resources"),
        ({"NodeList": "n[1-999999999]"}, "bad_resources"), ({"NodeList": "n[1-9999][1-9999]"}, "bad_resources"),
        ({"User": "a|b"}, "wrong_column_count"),
    ],
)
def test_what_is_not_exactly_right_is_rejected_with_a_code(fields, reason):
    """A guess at a broken field is a wrong hour that nobody sees."""
    items = sacct(job(**fields))
    assert [reject.reason for reject in rejects(items)] == [reason]
    assert accounted(items) == 2


def test_a_heading_that_comes_again_is_a_heading():
    """Files joined with cat would otherwise lose a line to quarantine for each part."""
    assert not rejects(sacct(DONE, HEADING, job(JobID="8")))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:24", 24), ("10-13:27:06", 10 * 86_400 + 13 * 3_600 + 27 * 60 + 6), ("23:08.358", 23 * 60 + 8), ("3h", None), ("", None)],
)
def test_durations(text, seconds):
    """Days before the dash are easily lost."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cpn-f13-03-[01-02],cpn-f13-04-[01-02]", ["cpn-f13-03-01", "cpn-f13-03-02", "cpn-f13-04-01", "cpn-f13-04-02"]),
        ("omni[1,10-12]", ["omni1", "omni10", "omni11", "omni12"]),
        ("x[098-101]", ["x098", "x099", "x100", "x101"]),
        ("r[1-2]n[7,9]", ["r1n7", "r1n9", "r2n7", "r2n9"]),
        ("n[1-2]-ib,m", ["n1-ib", "n2-ib", "m"]),
        ("a100gpu2", ["a100gpu2"]),
    ],
)
def test_node_lists_are_expanded_and_keep_their_zeros(text, names):
    """node1 and node01 are two machines; the comma inside brackets ends no name."""
    assert nodes_of(text) == names


NODE = st.from_regex(r"[a-z]{1,4}-?", fullmatch=True)


@given(st.lists(st.tuples(NODE, st.integers(0, 400), st.integers(0, 30), st.integers(1, 4)), min_size=1, max_size=4))
def test_a_compressed_node_list_expands_to_what_was_compressed(parts):
    """The round trip that Slurm makes."""
    text = ",".join(f"{name}[{low:0{width}d}-{low + more:0{width}d}]" for name, low, more, width in parts)
    wanted = [f"{name}{number:0{width}d}" for name, low, more, width in parts for number in range(low, low + more + 1)]
    assert nodes_of(text) == wanted


@given(st.integers(0, 99_999), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_counts_every_part(days, hours, minutes, seconds):
    """Seconds of the text are seconds of the duration."""
    text = (f"{days}-" if days else "") + f"{hours:02d}:{minutes:02d}:{seconds:02d}"
    assert seconds_of(text) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@given(st.text(max_size=60))
def test_no_text_breaks_the_small_parsers(text):
    """An unhandled exception would stop the delivery and all behind it."""
    seconds_of(text)
    for parse in (accelerators_of, nodes_of):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


FIELD = st.one_of(st.sampled_from(DONE.split("|")), st.text("0123456789-:TZ[],=gpu/.", max_size=20), st.text(max_size=8))


@given(st.lists(st.one_of(st.lists(FIELD, min_size=13, max_size=13).map("|".join), st.text(max_size=40)), max_size=8))
def test_every_line_is_accounted_for_whatever_it_holds(lines):
    """received = loaded + duplicate + quarantined needs a parser that loses none."""
    text = "\n".join((HEADING, *(line.replace("\n", " ") for line in lines)))
    items = read(SACCT, text)
    assert accounted(items) == sum(1 for line in text.split("\n") if line.strip())


@pytest.mark.parametrize(
    ("format", "head"),
    [
        (SACCT, HEADING + "\n" + DONE),
        (SACCT_HB_JOBINFO, "\u2603".join(["1"] * HB_JOBINFO_FIELDS) + "\n"),
        (SACCT_XDMOD, "|".join(["1"] * len(XDMOD)) + "\n"),
    ],
)
def test_each_dialect_is_told_from_the_others(format, head):
    """A file read as another dialect shifts every field."""
    assert [other.name for other in (SACCT, SACCT_HB_JOBINFO, SACCT_XDMOD) if other.matches("jobs.txt", head)] == [format.name]


def test_the_groningen_dialect(shared_data):
    """242 lines are 100 jobs and their steps, with the states and GPUs that the trace's notes name."""
    items = read(SACCT_HB_JOBINFO, text_of(shared_data / "hb_jobinfo_sacct" / "sacct.txt"), timezone="Europe/Amsterdam")
    found = [row.values for row in rows(items)]
    assert not rejects(items)
    assert accounted(items) == 242
    assert Counter(values["state"] for values in found) == {
        "COMPLETED": 66, "CANCELLED": 8, "FAILED": 8, "TIMEOUT": 7, "PENDING": 7, "RUNNING": 3, "NODE_FAIL": 1,
    }
    held = {values["job_id"]: values for values in found if values["accelerator_count"] != "0" and values["started_at"]}
    assert len(held) == 9
    assert (held["7939708"]["accelerator_count"], held["7939708"]["accelerator_id"]) == ("1", "nvidia-a100")
    assert (held["7971484"]["accelerator_count"], held["7971484"]["accelerator_id"]) == ("4", "nvidia-a100")
    # Two more wait for a GPU each.
    assert [v["job_id"] for v in found if v["accelerator_count"] != "0" and not v["started_at"]] == ["8323312", "8326038"]
    assert all(values["tenant_id"].startswith("user-") for values in found)
    running = next(values for values in found if values["job_id"] == "8202099")
    # Started 2024-04-17 22:53:53 in Amsterdam, a day and 14:17:59 ago.
    assert running["observed_at"] == "2024-04-19T11:11:52.000000Z"
    assert "5908801_3" in {values["job_id"] for values in found}
    assert "omni1,omni10,omni11,omni12" in {values["node_list"] for values in found}
    assert len({row.event_id for row in rows(items)}) == 100


def test_the_phillips_dialect(shared_data):
    """4,285 jobs without a heading; node lists hold commas inside brackets, and two jobs hold GPUs."""
    items = read(SACCT_XDMOD, text_of(shared_data / "copyleft" / "xdmod_sacct" / "phillips.log.gz"))
    found = [row.values for row in rows(items)]
    assert not rejects(items)
    assert accounted(items) == len(found) == 4_285
    assert Counter(values["state"] for values in found) == {"COMPLETED": 2_324, "FAILED": 1_717, "CANCELLED": 243, "TIMEOUT": 1}
    assert [values["job_id"] for values in found if values["accelerator_count"] != "0"] == ["163485", "196835"]
    assert {values["cluster_id"] for values in found} == {"phillips"}
    wide = next(values for values in found if values["job_id"] == "165381")
    assert wide["node_list"].split(",")[:3] == ["cpn-f13-03-01", "cpn-f13-03-02", "cpn-f13-04-01"]
    assert len(wide["node_list"].split(",")) == int(wide["node_count"]) == 8
    assert sum(values["node_list"] is None for values in found) == 239
    assert len({row.event_id for row in rows(items)}) == 4_285
