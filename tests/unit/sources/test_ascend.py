"""Ascend NPU exporter text."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import accounted, read, rejects, rows

from orchestration.sources.ascend import ASCEND
from orchestration.sources.base import FormatError
from orchestration.sources.dcgm import DCGM

VDIE = "185011D4-21104518-A0C4ED94-14CC040A-56102003"
LABELS = (
    'container_name="trainer",id="0",model_name="910B3-Ascend-V1",namespace="lab",pcie_bus_info="0000:61:00.0",'
    f'pod_name="train-7",vdie_id="{VDIE}"'
)
START_MS = 1_795_100_400_000


def scrape(start_ms: int, labels: str = LABELS, **metrics: float) -> list[str]:
    """Lines of one chip in the exporter's order; the memory's cache is a while older than the rest."""
    given = {
        "aicore_current_freq": 1800, "error_code": 0, "hbm_total_memory": 65536, "hbm_used_memory": 16384,
        "health_status": 1, "overall_utilization": 62, "power": 273.5, "temperature": 47, "utilization": 55,
    } | metrics
    return [
        f"npu_chip_info_{name}{{{labels}}} {value} {start_ms - (42_000 if name.startswith('hbm') else 0)}"
        for name, value in sorted(given.items())
    ]


def test_the_lines_of_a_chip_are_one_row_in_our_units(load):
    """AI core use and overall use are two measures; swapped, idle cores look busy."""
    text = "\n".join((
        "# HELP machine_npu_nums Amount of npu installed on the machine.", "machine_npu_nums 8",
        f'container_npu_utilization{{{LABELS}}} 55 {START_MS}', *scrape(START_MS),
        f'npu_chip_info_voltage{{{LABELS}}} 0.9 {START_MS}', "go_goroutines 12",
    ))
    parsed, (found,) = load(ASCEND, text)
    assert (parsed.received_count, parsed.loaded_count, parsed.faults) == (11, 11, [])
    assert found["device_id"] == VDIE
    assert (found["accelerator_id"], found["job_id"], found["device_state"]) == ("ascend-910b", "train-7", "up")
    assert found["sampled_at"] == datetime(2026, 11, 19, 15)
    assert (found["gpu_utilization_ratio"], found["sm_active_ratio"]) == (0.62, 0.55)
    assert (found["memory_used_bytes"], found["memory_total_bytes"]) == (2**34, 2**36)
    assert (found["power_watts"], found["temperature_celsius"], found["sm_clock_mhz"]) == (273.5, 47, 1800)
    assert (found["health_status"], found["xid_code"], found["energy_joules"]) == (1, 0, None)


def test_an_unhealthy_chip_is_down_and_an_unanswered_question_is_null():
    """-1 means that the driver did not answer; as a health it would be out of range, as down a lost chip."""
    down, unknown = (rows(read(ASCEND, "\n".join(scrape(START_MS, health_status=health))))[0].values for health in (0, -1))
    assert (down["health_status"], down["device_state"]) == ("0", "down")
    assert (unknown["health_status"], unknown["device_state"]) == (None, None)
    (failed,) = rows(read(ASCEND, "\n".join(scrape(START_MS, aicore_current_freq=4_294_967_295, error_code=2_147_483_648))))
    assert failed.values["sm_clock_mhz"] is None
    assert failed.values["xid_code"] == "2147483648"


def test_a_new_scrape_begins_where_a_series_comes_again_later():
    """The memory keeps its old time for a minute; grouping by time alone would split a chip's row."""
    text = "\n".join((*scrape(START_MS, utilization=10), *scrape(START_MS + 15_000, utilization=90)))
    found = rows(read(ASCEND, text))
    assert [(row.values["sampled_at"], row.values["sm_active_ratio"], row.line_count) for row in found] == [
        ("2026-11-19T15:00:00.000000Z", "0.1", 9), ("2026-11-19T15:00:15.000000Z", "0.9", 9),
    ]
    assert all(row.values["memory_used_bytes"] for row in found)


def test_chips_of_a_node_stay_apart_and_lines_of_a_metric_come_together():
    """The exporter lists a metric over all chips before the next metric."""
    other = LABELS.replace('id="0"', 'id="1"', 1).replace("185011D4", "285011D4")
    lines = [line for pair in zip(scrape(START_MS), scrape(START_MS + 35, other, utilization=5), strict=True) for line in pair]
    found = rows(read(ASCEND, "\n".join(lines)))
    assert {row.values["device_id"]: row.values["sm_active_ratio"] for row in found} == {
        VDIE: "0.55", VDIE.replace("185011D4", "285011D4"): "0.05",
    }


def test_old_releases_label_a_chip_by_number_alone():
    """Chip 0 of every node would be one device."""
    lines = ["# scraped_at 2026-11-20T01:00:00Z", 'npu_chip_info_utilization{id="0"} 42', 'npu_chip_info_power{id="0",node="n2"} 90']
    assert [row.values["device_id"] for row in rows(read(ASCEND, "\n".join(lines), source_id="hub-a"))] == ["hub-a/npu0", "n2/npu0"]


def test_inference_chips_have_ddr_instead_of_hbm():
    """Their HBM is 0 of 0, and the memory would read as unknown."""
    lines = scrape(START_MS, hbm_total_memory=0, hbm_used_memory=0, total_memory=21_527, used_memory=1_000)
    (found,) = rows(read(ASCEND, "\n".join(lines)))
    assert found.values["memory_total_bytes"] == str(21_527 * 2**20)


def test_a_slice_of_a_chip_is_counted_and_measured_nowhere():
    """A virtual NPU's use is a share of its cores, not of the chip."""
    line = f'vnpu_pod_aicore_utilization{{id="0",model_name="310P3",v_dev_id="100",aicore_count="4",is_virtual="true"}} 99 {START_MS}'
    (found,) = rows(read(ASCEND, "\n".join((*scrape(START_MS), line))))
    assert (found.line_count, found.values["sm_active_ratio"]) == (10, "0.55")


def test_a_file_without_any_time_is_refused():
    """The time of loading is not the time of the sample."""
    with pytest.raises(FormatError, match="scraped_at"):
        read(ASCEND, 'npu_chip_info_utilization{id="0"} 42')


def test_the_two_exporters_are_told_apart():
    """Each refuses the other's lines one by one."""
    text = "\n".join(("# HELP npu_chip_info_power the npu power", *scrape(START_MS)))
    assert ASCEND.matches("node.prom", text)
    assert not DCGM.matches("node.prom", text)
    assert not ASCEND.matches("node.prom", 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 50')


LINE = st.one_of(st.sampled_from(scrape(START_MS)), st.text('npu_chif{}="\\, 019eE+-#', max_size=40), st.text(max_size=30))


@given(st.lists(LINE, max_size=12))
def test_every_line_is_accounted_for_whatever_it_holds(lines):
    """received = loaded + duplicate + quarantined needs a parser that loses none, and never dies."""
    text = "\n".join(("# scraped_at 2026-11-20T01:00:00Z", *(line.replace("\n", " ") for line in lines)))
    items = read(ASCEND, text)
    assert accounted(items) == sum(1 for line in text.split("\n") if line.strip())
    assert all(reject.message for reject in rejects(items))
