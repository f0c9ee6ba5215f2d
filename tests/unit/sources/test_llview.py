"""LLview samples and job reports, on their own and on the trace of one job."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import accounted, read, rejects, rows, text_of

from orchestration.sources.base import FormatError, Heading
from orchestration.sources.llview import LLVIEW_FABRIC, LLVIEW_GPU, LLVIEW_JOB

GPU_HEADING = "jobid              ts       nodeid  gpu_usage gpu_memu     gpu_pu   gpu_temp gpu_sclk  gpu_clk"
GPU_LINE = "9438058    1709302348   jwb0263_00     47.500   1.500     56.397     44.000      210     1215"
FABRIC = "jobid              ts       nodeid       mbin      mbout\n9438058    1709302355      jwb0263     24.000      0.500"
JOB = {
    "jobid": "9438058", "account": "grp261", "owner": "user1749", "queue": "booster", "numgpus": 12, "numnodes": 3,
    "nodelist": "jwb0263 jwb0264 jwb0265", "queuedate": "2024-03-01 12:00:26", "starttime": "2024-03-01 15:11:20",
    "runtime": 11.5, "finished": 1,
}


def report(**fields) -> str:
    return json.dumps({"job": JOB | fields, "rc": {}})


def test_a_gpu_sample_gives_every_field_in_our_units(load):
    """Percent read as a ratio, or GiB as bytes, pass every range check on an idle GPU."""
    parsed, (found,) = load(LLVIEW_GPU, f"{GPU_HEADING}\n{GPU_LINE}")
    assert (parsed.received_count, parsed.loaded_count) == (1, 1)
    assert (found["device_id"], found["node_id"], found["job_id"]) == ("jwb0263_00", "jwb0263", "9438058")
    assert found["sampled_at"] == datetime(2024, 3, 1, 14, 12, 28)
    assert found["gpu_utilization_ratio"] == 0.475
    assert found["memory_used_bytes"] == 1.5 * 2**30
    assert (found["power_watts"], found["temperature_celsius"]) == (56.397, 44)
    assert (found["sm_clock_mhz"], found["memory_clock_mhz"], found["memory_total_bytes"]) == (210, 1215, None)


def test_a_fabric_sample_is_rates_into_and_out_of_a_node(load):
    """MB/s x 8 / 1000 = Gbit/s; a factor of eight too little is a link that never fills."""
    _, (found,) = load(LLVIEW_FABRIC, FABRIC)
    assert (found["link_id"], found["throughput_a_to_b_gbps"], found["throughput_b_to_a_gbps"]) == ("jwb0263", 0.192, 0.004)
    assert found["octets_a_to_b"] is None


def test_a_job_report_is_one_job_in_german_time(load):
    """The samples are in UTC and the report is not; an hour's shift parts a job from its samples."""
    parsed, (found,) = load(LLVIEW_JOB, report())
    assert (parsed.received_count, parsed.loaded_count, parsed.faults) == (1, 1, [])
    assert found["submitted_at"] == datetime(2024, 3, 1, 11, 0, 26)
    assert found["started_at"] == datetime(2024, 3, 1, 14, 11, 20)
    # Eleven and a half hours later.
    assert found["ended_at"] == datetime(2024, 3, 2, 1, 41, 20)
    assert (found["tenant_id"], found["partition"], found["state"]) == ("grp261", "booster", "COMPLETED")
    assert (found["accelerator_count"], found["node_count"], found["node_list"]) == (12, 3, "jwb0263,jwb0264,jwb0265")


def test_a_job_that_still_runs_is_open():
    """An end that is only the last update would stop its hours."""
    (found,) = rows(read(LLVIEW_JOB, report(finished=0)))
    assert (found.values["state"], found.values["ended_at"]) == ("RUNNING", None)
    assert found.values["observed_at"] == "2024-03-02T01:41:20.000000Z"


def test_a_manifest_may_name_another_zone_and_a_report_may_have_many_lines():
    """A centre elsewhere keeps its own wall clock."""
    text = json.dumps({"job": JOB}, indent=1)
    (found,) = rows(read(LLVIEW_JOB, text, timezone="Asia/Shanghai"))
    assert found.values["submitted_at"] == "2024-03-01T04:00:26.000000Z"
    assert found.line_count == len(text.split("\n"))


def test_the_end_counts_hours_run_and_not_hours_of_the_wall_clock():
    """Over the start of summer time the wall clock gains an hour that nobody ran."""
    (found,) = rows(read(LLVIEW_JOB, report(queuedate="2024-03-31 00:00:00", starttime="2024-03-31 01:30:00", runtime=1.0)))
    assert found.values["ended_at"] == "2024-03-31T01:30:00.000000Z"


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "{", '{"job": 3}', '{"job": {"jobid": 1}}', report(runtime="1e400"), report(starttime="yesterday"),
     report(account="\ud800"), report() + "x", '{"job": {}, "job": {}}', "[" * 100_000],
)
def test_what_is_no_report_is_refused_whole(text):
    """An error that nobody catches stops every delivery behind it."""
    with pytest.raises(FormatError):
        read(LLVIEW_JOB, text)


@pytest.mark.parametrize(
    ("line", "reason"),
    [(GPU_LINE + " 1", "wrong_column_count"), (GPU_LINE.replace("1709302348", "noon"), "bad_timestamp"),
     (GPU_LINE.replace("1709302348", "17093023480"), "bad_timestamp")],
)
def test_a_broken_sample_is_rejected_with_a_code(line, reason):
    """A shifted column makes a temperature of a clock."""
    items = read(LLVIEW_GPU, f"{GPU_HEADING}\n{line}\n{GPU_LINE}")
    assert [reject.reason for reject in rejects(items)] == [reason]
    assert len(rows(items)) == 1


def test_a_measure_that_is_no_number_is_refused_by_the_caster(load):
    """Scaling must not turn text into a number or drop it."""
    parsed, found = load(LLVIEW_GPU, f"{GPU_HEADING}\n{GPU_LINE.replace('47.500', 'n/a')}")
    assert not found
    assert [fault[2] for fault in parsed.faults] == ["bad_number"]


def test_columns_are_found_by_name():
    """The set differs from job to job."""
    (found,) = rows(read(LLVIEW_GPU, "nodeid gpu_usage ts jobid\nn_01 50 1709302348 7"))
    assert (found.values["device_id"], found.values["gpu_utilization_ratio"], found.values["power_watts"]) == ("n_01", "0.5", None)
    with pytest.raises(FormatError, match="gpu_usage"):
        read(LLVIEW_GPU, "nodeid ts jobid\nn_01 1709302348 7")


def test_a_heading_that_comes_again_is_a_heading():
    """Files joined with cat."""
    items = read(LLVIEW_GPU, f"{GPU_HEADING}\n{GPU_LINE}\n{GPU_HEADING}")
    assert [type(item) for item in items].count(Heading) == 2


@given(st.lists(st.one_of(st.just(GPU_LINE), st.text(max_size=40), st.text("0123456789 .-e", max_size=40)), max_size=8))
def test_every_line_is_accounted_for_whatever_it_holds(lines):
    """received = loaded + duplicate + quarantined needs a parser that loses none, and never dies."""
    text = "\n".join((GPU_HEADING, *(line.replace("\n", " ") for line in lines)))
    assert accounted(read(LLVIEW_GPU, text)) == sum(1 for line in text.split("\n") if line.strip())


def test_the_three_are_told_apart():
    """Files of one job lie side by side, with two kinds that we don't read."""
    heads = {
        "llview_gpu": ("GPU_1_node.dat", GPU_HEADING), "llview_fabric": ("Fabric_1_node.dat", FABRIC),
        "llview_job": ("jobreport_1.json", report()), None: ("LoadMem_1_node.dat", "jobid ts nodeid load used_mem"),
    }
    for wanted, (name, head) in heads.items():
        fits = [format.name for format in (LLVIEW_GPU, LLVIEW_FABRIC, LLVIEW_JOB) if format.matches(name, head)]
        assert fits == ([wanted] if wanted else [])


def test_the_traces_gpu_samples(shared_data):
    """7,920 samples of twelve GPUs; sixty minutes hold two samples, always some seconds apart."""
    items = read(LLVIEW_GPU, text_of(shared_data / "copyleft" / "llview" / "manysteps" / "GPU_9438058_node.dat.gz"))
    found = rows(items)
    assert not rejects(items)
    assert accounted(items) == len(found) + 1 == 7_921
    assert len({row.values["device_id"] for row in found}) == 12
    assert {row.values["node_id"] for row in found} == {"jwb0263", "jwb0264", "jwb0265"}
    # The repeated minutes are sixty samples of their own: none is dropped, none conflicts.
    assert len({row.event_id for row in found}) == 7_920
    minutes = Counter((row.values["device_id"], row.values["sampled_at"][:16]) for row in found)
    assert Counter(minutes.values())[2] == 60
    assert found[0].values["sampled_at"] == "2024-03-01T14:12:28.000000Z"


def test_the_traces_fabric_samples(shared_data):
    """1,980 samples of three nodes, stamped seconds after the GPUs'."""
    items = read(LLVIEW_FABRIC, text_of(shared_data / "copyleft" / "llview" / "manysteps" / "Fabric_9438058_node.dat.gz"))
    assert not rejects(items)
    assert len({row.event_id for row in rows(items)}) == 1_980
    assert rows(items)[2].values["throughput_a_to_b_gbps"] == repr(24.009 * 8 / 1000)


def test_the_traces_job(shared_data):
    """The report's local times meet the samples' UTC: the job starts 68 seconds before its first sample."""
    text = text_of(shared_data / "copyleft" / "llview" / "manysteps" / "jobreport_grp261_user1749_9438058.json")
    (found,) = rows(read(LLVIEW_JOB, text))
    assert found.values["started_at"] == "2024-03-01T14:11:20.000000Z"
    assert found.values["ended_at"] == "2024-03-02T01:30:10.000000Z"
    assert found.values["accelerator_count"] == "12"
    assert "user1749" not in str(found)


def test_loads_and_file_systems_are_not_read(shared_data):
    """They have no raw table; taken for samples they would be quarantined whole."""
    folder = shared_data / "copyleft" / "llview" / "manysteps"
    for path in [*folder.glob("LoadMem_*"), *folder.glob("FSusage_*")]:
        head = text_of(path)[:4096]
        assert not any(format.matches(path.name, head) for format in (LLVIEW_GPU, LLVIEW_FABRIC, LLVIEW_JOB))
