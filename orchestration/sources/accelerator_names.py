"""One id for an accelerator type, from the many spellings that exporters and schedulers use.

``NVIDIA A100-SXM4-80GB``, ``a100`` and ``Tesla A100`` are ``nvidia-a100``; ``910B3`` and ``Ascend910B``
are ``ascend-910b``. Form factors and memory sizes of one chip share its id (telemetry carries the memory
itself). A slice of a device (MIG) keeps its profile, so it never counts as a whole device. What is known
about a type is reference data; nothing of it is here.
"""

from __future__ import annotations

import re
from functools import lru_cache

NVIDIA_CHIP = re.compile(r"(?:gb|gh|[abhlptv])\d{1,3}[a-z]{0,2}")
ASCEND_CHIP = re.compile(r"(?:ascend)?[-_ ]?(910_93|\d{3}[a-z]{0,2})", re.ASCII)
MIG_PROFILE = re.compile(r"\d+g\.\d+gb")


@lru_cache(maxsize=1024)
def accelerator_id_of(name: str | None) -> str | None:
    """The id of an accelerator type by its name; None when there is no name."""
    text = (name or "").strip().lower()
    words = [word for word in re.split(r"[^a-z0-9.]+", text) if word]
    if not words:
        return None
    slug = "-".join(words)
    if any(MIG_PROFILE.fullmatch(word) for word in words):
        return slug
    if "ascend" in text or re.match(r"(?:910|310|950)", text):
        chip = ASCEND_CHIP.search(text)
        if chip is None:
            return slug
        # Huawei's driver calls the 910C Ascend910_93xx.
        return "ascend-910c" if chip.group(1) == "910_93" else f"ascend-{chip.group(1)}"
    if "rtx" in words and words[-1] != "rtx":
        return f"nvidia-rtx-{words[words.index('rtx') + 1]}"
    for word in words:
        if NVIDIA_CHIP.fullmatch(word):
            return f"nvidia-{word}"
    return slug


def slice_id_of(accelerator_id: str | None, profile: str) -> str:
    """The id of a slice of an accelerator, another type than the whole one."""
    return f"{accelerator_id or 'unknown'}-mig-{profile}"
