"""Huawei's Ascend NPU exporter: its Prometheus text, one row a chip and scrape.

A scrape's samples bear the times of the exporter's caches, which differ by metric group (use 1 s, HBM
60 s), so a chip's row takes the latest of its lines. The exporter's own metrics (number of NPUs, Go
runtime) are known and carry no data; metrics that are not mapped are counted as part of the chip's row.
Virtual NPUs (``vnpu_pod_*``) are slices of a chip: counted with its row, measured nowhere.

Older releases label a chip by ``id`` alone; then the id of the device is the node's (or the source's)
name and that number.
"""

from __future__ import annotations

import math

from orchestration.contracts import TELEMETRY
from orchestration.sources.accelerator_names import accelerator_id_of
from orchestration.sources.base import Options, RowFormat
from orchestration.sources.exposition import (
    Device,
    Dialect,
    Place,
    Sample,
    number_text,
    reader,
    scaled,
)

MIB = 2**20
CHIP = "npu_chip_info_"
CORE_USE = f"{CHIP}utilization"
OVERALL_USE = f"{CHIP}overall_utilization"
HBM_USED, HBM_TOTAL = f"{CHIP}hbm_used_memory", f"{CHIP}hbm_total_memory"
# Inference chips have DDR instead of HBM.
DDR_USED, DDR_TOTAL = f"{CHIP}used_memory", f"{CHIP}total_memory"
POWER = f"{CHIP}power"
TEMPERATURE = f"{CHIP}temperature"
CORE_CLOCK = f"{CHIP}aicore_current_freq"
HEALTH = f"{CHIP}health_status"
ERROR_CODE = f"{CHIP}error_code"

KEPT = frozenset({
    CORE_USE, OVERALL_USE, HBM_USED, HBM_TOTAL, DDR_USED, DDR_TOTAL, POWER, TEMPERATURE, CORE_CLOCK, HEALTH, ERROR_CODE,
})
# What the exporter writes when the driver did not answer: -1, or the largest unsigned 32-bit number.
FAILED = (-1.0, float(2**32 - 1))


def _number(sample: Sample) -> float | None:
    if sample.name not in KEPT:
        raise LookupError(sample.name)
    return None if math.isnan(sample.value) or sample.value in FAILED else sample.value


def _first(labels: dict[str, str], *names: str) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)


def _place(sample: Sample, options: Options) -> Place | None:
    labels = sample.labels
    number = _first(labels, "id", "npuID", "npu_id")
    if number is None:
        return None
    node = _first(labels, "node", "node_name", "Hostname", "exported_node", "instance")
    model = _first(labels, "model_name", "modelName", "name")
    return Place(
        key=f"{node or options.source_id}/npu{number}",
        device_id=_first(labels, "vdie_id", "uuid"),
        node_id=node,
        accelerator_id=accelerator_id_of(model),
        job_id=_first(labels, "exported_pod", "pod_name", "podName"),
    )


def _values(device: Device) -> dict[str, str | None]:
    numbers = device.numbers
    used, total = numbers.get(HBM_USED), numbers.get(HBM_TOTAL)
    if not total:
        used, total = numbers.get(DDR_USED), numbers.get(DDR_TOTAL)
    health = numbers.get(HEALTH)
    core_use, overall_use = numbers.get(CORE_USE), numbers.get(OVERALL_USE)
    return {
        "gpu_utilization_ratio": None if overall_use is None else repr(overall_use / 100),
        "sm_active_ratio": None if core_use is None else repr(core_use / 100),
        "memory_used_bytes": scaled(used, MIB),
        "memory_total_bytes": scaled(total, MIB),
        "power_watts": number_text(numbers.get(POWER)),
        "temperature_celsius": number_text(numbers.get(TEMPERATURE)),
        "sm_clock_mhz": number_text(numbers.get(CORE_CLOCK)),
        "xid_code": number_text(numbers.get(ERROR_CODE)),
        "health_status": number_text(health),
        "device_state": {0.0: "down", 1.0: "up"}.get(health) if health is not None else None,
    }


def _matches(_name: str, head: str) -> bool:
    """Exposition text that names a metric of a chip."""
    return not head.lstrip("\ufeff").startswith("{") and any(
        line.startswith((CHIP, f"# HELP {CHIP}", f"# TYPE {CHIP}", "machine_npu_nums ", "# HELP machine_npu_nums",
                         "container_npu_", "# HELP container_npu_"))
        for line in head.lstrip("\ufeff").splitlines()
    )


ASCEND = RowFormat(
    name="ascend",
    table=TELEMETRY,
    description="Ascend npu-exporter text; times from samples, '# scraped_at' lines or the manifest's epoch.",
    matches=_matches,
    read=reader(Dialect(
        prefixes=("npu_", "container_npu_", "vnpu_"),
        about_itself=("machine_npu_nums", "npu_exporter_version_info", "go_", "process_", "promhttp_"),
        place=_place,
        is_other_entity=lambda _sample: False,
        number=_number,
        values=_values,
        one_instant_per_scrape=True,
    )),
)
