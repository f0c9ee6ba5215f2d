"""NVIDIA's DCGM exporter: its Prometheus text, one row a GPU (or MIG instance) and instant.

Metrics that are not mapped here are part of the device's row all the same: their lines are counted, and
they stay in landing. What an exporter does not give, or gives as one of DCGM's blanks, is null, never 0.

MIG: the instances of a GPU repeat what only the whole GPU has (power, energy, temperature, clocks, XID).
Those make one row of the GPU itself; the instances' own metrics make rows of device ``<UUID>/<GPU_I_ID>``,
whose accelerator type is the slice's, so that no instance counts as a GPU.
"""

from __future__ import annotations

import math

from orchestration.contracts import TELEMETRY
from orchestration.sources.accelerator_names import accelerator_id_of, slice_id_of
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
GPU_UTIL = "DCGM_FI_DEV_GPU_UTIL"
ENGINE_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE"
MEMORY_USED = "DCGM_FI_DEV_FB_USED"
MEMORY_FREE = "DCGM_FI_DEV_FB_FREE"
MEMORY_RESERVED = "DCGM_FI_DEV_FB_RESERVED"
MEMORY_TOTAL = "DCGM_FI_DEV_FB_TOTAL"
POWER = "DCGM_FI_DEV_POWER_USAGE"
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
SM_CLOCK = "DCGM_FI_DEV_SM_CLOCK"
MEMORY_CLOCK = "DCGM_FI_DEV_MEM_CLOCK"
XID = "DCGM_FI_DEV_XID_ERRORS"

OF_THE_WHOLE_GPU = frozenset({POWER, ENERGY, TEMPERATURE, SM_CLOCK, MEMORY_CLOCK, XID})
KEPT = OF_THE_WHOLE_GPU | {
    GPU_UTIL, ENGINE_ACTIVE, SM_ACTIVE, MEMORY_USED, MEMORY_FREE, MEMORY_RESERVED, MEMORY_TOTAL,
}

# DCGM's blanks: each type's first, then not found, not supported, not permissioned and room for more.
# As floats, the 64-bit blanks are all 2^63.
INT32_BLANK, INT32_END = 0x7FFFFFF0, 0x7FFFFFFF
FLOAT_BLANK, FLOAT_END = 2.0**47, 2.0**47 + 15
INT64_BLANK = float(0x7FFFFFFFFFFFFFF0)


def is_blank(name: str, value: float) -> bool:
    """Whether a value is one of DCGM's ways to say that it has none."""
    if math.isnan(value) or value == INT64_BLANK:
        return True
    # A counter of millijoules passes through the smaller blanks on its way.
    return name != ENERGY and (INT32_BLANK <= value <= INT32_END or FLOAT_BLANK <= value <= FLOAT_END)


def _number(sample: Sample) -> float | None:
    if sample.name not in KEPT:
        raise LookupError(sample.name)
    return None if is_blank(sample.name, sample.value) else sample.value


def _place(sample: Sample, _options: Options) -> Place | None:
    labels = sample.labels
    node = labels.get("Hostname") or labels.get("hostname")
    device = labels.get("UUID") or labels.get("uuid")
    if not device:
        index = labels.get("gpu")
        if not node or not index:
            return None
        device = f"{node}/gpu{index}"
    kind = accelerator_id_of(labels.get("modelName"))
    instance = labels.get("GPU_I_ID")
    if instance and sample.name not in OF_THE_WHOLE_GPU:
        device = f"{device}/{instance}"
        kind = slice_id_of(kind, labels.get("GPU_I_PROFILE") or "unknown")
    # A scraping Prometheus renames the pod that held the GPU when its own target has the label too.
    job = labels.get("hpc_job") or labels.get("exported_pod") or labels.get("pod")
    return Place(device, device, node, kind, job or None)


def _is_other_entity(sample: Sample) -> bool:
    """Switches, their links and processors have metrics of DCGM too, and no GPU."""
    return "gpu" not in sample.labels and not {"nvswitch", "nvlink", "cpu", "cpucore"}.isdisjoint(sample.labels)


def _values(device: Device) -> dict[str, str | None]:
    numbers = device.numbers
    used, free, total = numbers.get(MEMORY_USED), numbers.get(MEMORY_FREE), numbers.get(MEMORY_TOTAL)
    if total is None and used is not None and free is not None:
        total = used + free + (numbers.get(MEMORY_RESERVED) or 0)
    energy = numbers.get(ENERGY)
    utilization = numbers.get(GPU_UTIL)
    return {
        "gpu_utilization_ratio": None if utilization is None else repr(utilization / 100),
        "engine_active_ratio": number_text(numbers.get(ENGINE_ACTIVE)),
        "sm_active_ratio": number_text(numbers.get(SM_ACTIVE)),
        "memory_used_bytes": scaled(used, MIB),
        "memory_total_bytes": scaled(total, MIB),
        "power_watts": number_text(numbers.get(POWER)),
        "energy_joules": None if energy is None else number_text(energy / 1000),
        "temperature_celsius": number_text(numbers.get(TEMPERATURE)),
        "sm_clock_mhz": number_text(numbers.get(SM_CLOCK)),
        "memory_clock_mhz": number_text(numbers.get(MEMORY_CLOCK)),
        "xid_code": number_text(numbers.get(XID)),
    }


def _matches(_name: str, head: str) -> bool:
    """Exposition text whose first sample or comment on a metric is of DCGM."""
    for line in head.lstrip("\ufeff").splitlines():
        words = line.split(None, 3)
        if line.startswith("DCGM_"):
            return "{" in line
        if words[:1] == ["#"] and words[1:2] in (["HELP"], ["TYPE"]) and len(words) > 2:
            return words[2].startswith("DCGM_")
        if words and not line.startswith("#"):
            return False
    return False


DCGM = RowFormat(
    name="dcgm",
    table=TELEMETRY,
    description="DCGM exporter text; times from samples, '# scraped_at' lines or the manifest's epoch.",
    matches=_matches,
    read=reader(Dialect(
        prefixes=("DCGM_",), about_itself=(), place=_place, is_other_entity=_is_other_entity,
        number=_number, values=_values,
    )),
)
