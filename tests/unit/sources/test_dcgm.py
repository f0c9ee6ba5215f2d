"""DCGM exporter text, and the grammar of exposition text that it shares with Ascend's."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from reading import accounted, read, rejects, rows, text_of

from orchestration.sources import exposition
from orchestration.sources.accelerator_names import accelerator_id_of
from orchestration.sources.base import FormatError
from orchestration.sources.dcgm import DCGM
from orchestration.sources.exposition import sample_of

LABELS = 'gpu="0",UUID="GPU-1",device="nvidia0",modelName="NVIDIA H800",Hostname="n1",pod="",hpc_job="77"'
STAMP = "# scraped_at 2026-11-20T01:00:00Z"
SCRAPE = f"""{STAMP}
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{{{LABELS}}} 37
DCGM_FI_DEV_FB_USED{{{LABELS}}} 1024
DCGM_FI_DEV_FB_FREE{{{LABELS}}} 80000
DCGM_FI_DEV_FB_RESERVED{{{LABELS}}} 535
DCGM_FI_DEV_POWER_USAGE{{{LABELS}}} 312.5
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{LABELS}}} 2147483633
DCGM_FI_DEV_GPU_TEMP{{{LABELS}}} 51
DCGM_FI_DEV_SM_CLOCK{{{LABELS}}} 1410
DCGM_FI_DEV_MEM_CLOCK{{{LABELS}}} 1593
DCGM_FI_DEV_XID_ERRORS{{{LABELS}}} 79
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{LABELS}}} 0.25
DCGM_FI_PROF_SM_ACTIVE{{{LABELS}}} 0.125
DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{{LABELS}}} 3
"""


def one(metric: str, value: object, labels: str = LABELS, stamp: str = "") -> str:
    return f"{metric}{{{labels}}} {value}{' ' if stamp else ''}{stamp}"


def test_the_lines_of_a_device_and_instant_are_one_row_in_our_units(load):
    """MiB read as bytes, or millijoules as joules, pass every schema test."""
    parsed, (found,) = load(DCGM, SCRAPE)
    assert (parsed.received_count, parsed.loaded_count, parsed.faults) == (13, 13, [])
    assert found["line_number"] == 4
    assert found["line_count"] == 13
    assert found["sampled_at"] == datetime(2026, 11, 20, 1)
    assert (found["device_id"], found["node_id"], found["accelerator_id"], found["job_id"]) == ("GPU-1", "n1", "nvidia-h800", "77")
    assert found["gpu_utilization_ratio"] == 0.37
    assert (found["engine_active_ratio"], found["sm_active_ratio"]) == (0.25, 0.125)
    assert found["memory_used_bytes"] == 1024 * 2**20
    assert found["memory_total_bytes"] == (1024 + 80_000 + 535) * 2**20
    assert (found["power_watts"], found["temperature_celsius"]) == (312.5, 51)
    # A counter passes through the number that means blank for a 32-bit gauge.
    assert found["energy_joules"] == 2_147_483.633
    assert (found["sm_clock_mhz"], found["memory_clock_mhz"], found["xid_code"]) == (1410, 1593, 79)
    assert found["health_status"] is None
    assert found["event_id"] == "GPU-1|2026-11-20T01:00:00.000000Z"


@pytest.mark.parametrize(
    "blank",
    ["9223372036854775794", "9223372036854775792", "9.223372036854775807e+18", "2147483634", "140737488355328", "NaN"],
)
def test_blanks_are_null(blank):
    """DCGM's "not supported" read as a number is a GPU of 9 quintillion degrees."""
    (found,) = rows(read(DCGM, "\n".join((STAMP, one("DCGM_FI_DEV_GPU_TEMP", blank), one("DCGM_FI_DEV_SM_CLOCK", 210)))))
    assert found.values["temperature_celsius"] is None
    assert found.values["sm_clock_mhz"] == "210"
    assert found.line_count == 2


def test_without_free_memory_the_total_is_unknown():
    """Used memory alone is no total, and a GPU of 1 GiB would be full."""
    (found,) = rows(read(DCGM, "\n".join((STAMP, one("DCGM_FI_DEV_FB_USED", 1024)))))
    assert found.values["memory_total_bytes"] is None


def test_instances_of_a_partitioned_gpu_do_not_count_as_gpus_and_its_power_counts_once():
    """Seven instances repeat the power of one GPU: seven times the energy, and seven GPUs."""
    lines = [STAMP]
    for instance in (1, 2):
        labels = f'{LABELS.replace("H800", "A100-SXM4-80GB")},GPU_I_PROFILE="1g.10gb",GPU_I_ID="{instance}"'
        lines += [
            one("DCGM_FI_DEV_POWER_USAGE", 250, labels), one("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 9000, labels),
            one("DCGM_FI_DEV_FB_USED", 100 * instance, labels), one("DCGM_FI_PROF_GR_ENGINE_ACTIVE", instance / 10, labels),
        ]
    items = read(DCGM, "\n".join(lines))
    assert accounted(items) == 9
    found = {row.values["device_id"]: row for row in rows(items)}
    assert set(found) == {"GPU-1", "GPU-1/1", "GPU-1/2"}
    assert found["GPU-1"].line_count == 4
    assert found["GPU-1"].values["power_watts"] == "250"
    assert found["GPU-1"].values["energy_joules"] == "9"
    assert found["GPU-1"].values["accelerator_id"] == "nvidia-a100"
    assert found["GPU-1/2"].values["engine_active_ratio"] == "0.2"
    assert found["GPU-1/2"].values["power_watts"] is None
    assert found["GPU-1/2"].values["accelerator_id"] == "nvidia-a100-mig-1g.10gb"


def test_a_file_may_hold_many_scrapes():
    """The instant of a scrape must not leak into the next."""
    text = "\n".join(
        line for minute in (0, 1)
        for line in (f"# scraped_at 2026-11-20T09:0{minute}:00+08:00", one("DCGM_FI_DEV_GPU_TEMP", 50 + minute))
    )
    found = rows(read(DCGM, text))
    assert [(row.values["sampled_at"], row.values["temperature_celsius"]) for row in found] == [
        ("2026-11-20T01:00:00.000000Z", "50"), ("2026-11-20T01:01:00.000000Z", "51"),
    ]


def test_a_samples_own_timestamp_comes_first_and_lines_may_be_sorted_by_metric():
    """A federating Prometheus stamps each sample; a dump of it lists a metric over all its instants."""
    text = "\n".join([
        STAMP,
        one("DCGM_FI_DEV_GPU_TEMP", 50, stamp="1795100400000"), one("DCGM_FI_DEV_GPU_TEMP", 51, stamp="1795100460000"),
        one("DCGM_FI_DEV_SM_CLOCK", 210, stamp="1795100400000"), one("DCGM_FI_DEV_SM_CLOCK", 1410, stamp="1795100460000"),
    ])
    found = rows(read(DCGM, text))
    assert [(row.values["temperature_celsius"], row.values["sm_clock_mhz"], row.line_count) for row in found] == [
        ("50", "210", 2), ("51", "1410", 2),
    ]
    assert found[0].values["sampled_at"] == datetime.fromtimestamp(1_795_100_400, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def test_rows_are_closed_in_bounded_memory_and_late_lines_are_rejected(monkeypatch):
    """A file bigger than memory must load; a row closed too early must not come twice with half its metrics."""
    monkeypatch.setattr(exposition, "MOST_OPEN_ROWS", 4)
    lines = [one("DCGM_FI_DEV_GPU_TEMP", 50, stamp=str(1_795_100_400_000 + minute * 60_000)) for minute in range(20)]
    lines.append(one("DCGM_FI_DEV_SM_CLOCK", 210, stamp="1795100400000"))
    items = read(DCGM, "\n".join(lines))
    assert [reject.reason for reject in rejects(items)] == ["out_of_order"]
    assert len(rows(items)) == 20
    assert accounted(items) == 21


def test_the_manifests_epoch_is_the_instant_of_a_lone_scrape():
    """A scrape saved with curl has no time; the person who saved it knows."""
    (found,) = rows(read(DCGM, one("DCGM_FI_DEV_GPU_TEMP", 50), epoch=datetime(2026, 11, 20, 1, tzinfo=UTC)))
    assert found.values["sampled_at"] == "2026-11-20T01:00:00.000000Z"


def test_a_file_without_any_time_is_refused_and_says_what_to_do():
    """The time of loading is not the time of the sample."""
    with pytest.raises(FormatError, match="scraped_at") as refusal:
        read(DCGM, SCRAPE.replace(STAMP, ""))
    assert refusal.value.code == "no_sample_time"


def test_a_scrape_whose_time_is_broken_does_not_take_the_last_ones():
    """Its samples would overwrite, or contradict, those of the scrape before."""
    items = read(DCGM, "\n".join((STAMP, one("DCGM_FI_DEV_GPU_TEMP", 50), "# scraped_at noon", one("DCGM_FI_DEV_GPU_TEMP", 60))))
    assert [reject.reason for reject in rejects(items)] == ["bad_timestamp", "no_sample_time"]
    assert [row.values["temperature_celsius"] for row in rows(items)] == ["50"]


def test_a_series_that_repeats_counts_once_and_two_values_for_one_are_a_fault():
    """A GPU shared by two pods repeats its use for each; adding or overwriting are both wrong."""
    shared = LABELS.replace('hpc_job="77"', 'hpc_job="78"')
    items = read(DCGM, "\n".join((
        STAMP, one("DCGM_FI_DEV_GPU_UTIL", 40), one("DCGM_FI_DEV_GPU_UTIL", 40, shared), one("DCGM_FI_DEV_GPU_UTIL", 50, shared),
    )))
    (found,) = rows(items)
    assert (found.values["gpu_utilization_ratio"], found.line_count) == ("0.4", 2)
    # Held by two jobs: neither is the one that held it.
    assert found.values["job_id"] is None
    assert [reject.reason for reject in rejects(items)] == ["duplicate_series"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("node_cpu_seconds_total{cpu=\"0\"} 1", "foreign_metric"),
        ("go_goroutines 8", "foreign_metric"),
        (one("DCGM_FI_DEV_GPU_TEMP", "hot"), "malformed_sample"),
        (one("DCGM_FI_DEV_GPU_TEMP", "1_000"), "malformed_sample"),
        (one("DCGM_FI_DEV_GPU_TEMP", "50 noon"), "malformed_sample"),
        (one("DCGM_FI_DEV_GPU_TEMP", "50 1 2"), "malformed_sample"),
        ("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"", "malformed_sample"),
        ("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",gpu=\"1\"} 1", "malformed_sample"),
        ("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\" UUID=\"x\"} 1", "malformed_sample"),
        ("<html>", "malformed_sample"),
        (one("DCGM_FI_DEV_GPU_TEMP", "x} 1"), "malformed_sample"),
        (f"DCGM_FI_DEV_GPU_TEMP!{{{LABELS}}} 1", "malformed_sample"),
        ("DCGM_FI_DEV_GPU_TEMP 50", "no_device"),
        (one("DCGM_FI_DEV_GPU_TEMP", "+Inf"), "bad_number"),
    ],
)
def test_what_is_no_sample_of_a_gpu_is_rejected_with_a_code(line, reason):
    """A line that is skipped silently is a metric that reads as unknown for ever."""
    items = read(DCGM, f"{STAMP}\n{line}\n{one('DCGM_FI_DEV_SM_CLOCK', 210)}")
    assert [reject.reason for reject in rejects(items)] == [reason]
    assert accounted(items) == 3


def test_switches_and_processors_are_known_and_no_gpus():
    """Their temperatures would make devices without a GPU."""
    items = read(DCGM, f'{STAMP}\nDCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT{{nvswitch="0",Hostname="n1"}} 40')
    assert not rows(items)
    assert not rejects(items)


def test_a_gpu_without_a_uuid_is_its_node_and_number():
    """Old exporters label by index alone; two nodes' GPU 0 must stay two."""
    lines = [STAMP, *(one("DCGM_FI_DEV_GPU_TEMP", 50, f'gpu="0",Hostname="{node}"') for node in ("a", "b"))]
    assert [row.values["device_id"] for row in rows(read(DCGM, "\n".join(lines)))] == ["a/gpu0", "b/gpu0"]


def test_replayed_samples_move_and_keep_their_ids():
    """An id that moved would load the same samples twice."""
    (plain,), (moved,) = (rows(read(DCGM, SCRAPE, shift_days=days)) for days in (0, 7))
    assert moved.event_id == plain.event_id
    assert moved.values["sampled_at"] == "2026-11-27T01:00:00.000000Z"


@pytest.mark.parametrize(
    ("name", "accelerator_id"),
    [
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100"), ("a100", "nvidia-a100"), ("Tesla V100-SXM2-32GB", "nvidia-v100"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100"), ("NVIDIA H20", "nvidia-h20"), ("NVIDIA L40S", "nvidia-l40s"),
        ("NVIDIA GeForce RTX 4090", "nvidia-rtx-4090"), ("NVIDIA GH200 480GB", "nvidia-gh200"),
        ("910B3", "ascend-910b"), ("Ascend910B4", "ascend-910b"), ("910A-Ascend-V1", "ascend-910a"),
        ("Ascend910_9391", "ascend-910c"), ("310P3-Ascend-V1", "ascend-310p"), ("PPU-ZW810E", "ppu-zw810e"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "nvidia-a100-sxm4-80gb-mig-1g.10gb"), ("", None), (None, None),
    ],
)
def test_spellings_of_a_type_are_one_id(name, accelerator_id):
    """Supply named one way and demand another never meet."""
    assert accelerator_id_of(name) == accelerator_id


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)


@given(
    st.from_regex(r"DCGM_[A-Z_]{1,12}", fullmatch=True),
    st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), TEXT, max_size=4),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(0, 4_000_000_000_000),
    st.sampled_from([",", ", ", " , "]),
)
def test_a_sample_reads_as_prometheus_reads_it(name, labels, value, stamp, comma):
    """The reference parser and ours must agree on every line that is right."""
    escaped = {key: text.replace("\\", r"\\").replace('"', r"\"") for key, text in labels.items()}
    pairs = comma.join(key + '="' + text + '"' for key, text in escaped.items())
    line = f"{name}{{{pairs}}} {value!r}" if labels else f"{name} {value!r}"
    sample = sample_of(line if stamp is None else f"{line} {stamp}")
    (family,) = text_string_to_metric_families(line + "\n")
    (theirs,) = family.samples
    assert (sample.name, sample.labels) == (theirs.name, theirs.labels)
    assert sample.value == theirs.value
    assert stamp is None or math.isclose(sample.at.timestamp() * 1000, stamp, abs_tol=0.01)


LINE = st.one_of(
    st.text(max_size=50),
    st.sampled_from(SCRAPE.split("\n")),
    st.text('DCGM_FI{}="\\,. 019eE+-#\t', max_size=40),
    st.builds("DCGM_FI_DEV_GPU_TEMP{{gpu=\"0\",UUID=\"{}\"}} {} {}".format, TEXT, st.text("0123456789.eE+-NaInf_", max_size=8),
              st.text("0123456789-", max_size=16)),
)


@given(st.lists(LINE, max_size=12))
def test_every_line_is_accounted_for_whatever_it_holds(lines):
    """received = loaded + duplicate + quarantined needs a parser that loses none, and never dies."""
    text = "\n".join((STAMP, *(line.replace("\n", " ") for line in lines)))
    assert accounted(read(DCGM, text)) == sum(1 for line in text.split("\n") if line.strip())


def test_the_format_is_told_from_its_first_lines():
    """Detection that fires on any exposition text would quarantine node metrics line by line."""
    assert DCGM.matches("node.prom", SCRAPE)
    assert DCGM.matches("node.prom", one("DCGM_FI_DEV_GPU_TEMP", 50))
    assert not DCGM.matches("node.prom", "# HELP node_load1 Load.\nnode_load1 3\nDCGM_FI_DEV_GPU_TEMP 50")
    assert not DCGM.matches("default-counters.csv", "DCGM_FI_DEV_SM_CLOCK,  gauge, SM clock frequency (in MHz).")


def test_the_exporters_own_sample(shared_data):
    """A space after the comma in the labels, a blank temperature, and no time at all."""
    text = text_of(shared_data / "dcgm_exporter" / "readme-sample.prom")
    assert DCGM.matches("readme-sample.prom", text)
    with pytest.raises(FormatError, match="scraped_at"):
        read(DCGM, text)
    items = read(DCGM, f"{STAMP}\n{text}")
    (found,) = rows(items)
    assert not rejects(items)
    assert found.line_count == 3
    assert found.values["device_id"] == "GPU-604ac76c-d9cf-fef3-62e9-d92044ab6e52"
    assert (found.values["sm_clock_mhz"], found.values["memory_clock_mhz"], found.values["job_id"]) == ("139", "405", None)


@pytest.mark.parametrize("file", ["default-counters.csv", "dcp-metrics-included.csv"])
def test_the_metric_dictionaries_are_no_telemetry(shared_data, file):
    """They name the metrics, have no samples, and begin like comments."""
    assert not DCGM.matches(file, text_of(shared_data / "dcgm_exporter" / file))
