"""Every format that is accepted, by name, and how a file's format is told from its first bytes."""

from __future__ import annotations

from orchestration.sources.ascend import ASCEND
from orchestration.sources.base import Format
from orchestration.sources.dcgm import DCGM
from orchestration.sources.litellm_prices import LITELLM_PRICES
from orchestration.sources.llm_prices_cn import LLM_PRICES_CN
from orchestration.sources.llview import LLVIEW_FABRIC, LLVIEW_GPU, LLVIEW_JOB
from orchestration.sources.otel_genai import OTEL_GENAI
from orchestration.sources.reference_csv import REFERENCE_CSV
from orchestration.sources.sacct import SACCT, SACCT_HB_JOBINFO, SACCT_XDMOD
from orchestration.sources.servegen_lengths import SERVEGEN_LENGTHS
from orchestration.sources.tabular import CANONICAL, TRACES

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        *TRACES,
        *CANONICAL,
        OTEL_GENAI,
        SERVEGEN_LENGTHS,
        SACCT,
        SACCT_HB_JOBINFO,
        SACCT_XDMOD,
        DCGM,
        ASCEND,
        LLVIEW_GPU,
        LLVIEW_FABRIC,
        LLVIEW_JOB,
        LLM_PRICES_CN,
        LITELLM_PRICES,
        *REFERENCE_CSV,
    )
}


class UnknownFormat(ValueError):
    """No format, or more than one, fits the file: says why and what to do."""


def named(name: str, feed: str | None = None, table: str | None = None) -> Format:
    """The format of that name; ``canonical`` and ``reference_csv`` need the table (or a feed with one)."""
    if name in FORMATS:
        return FORMATS[name]
    if name in ("canonical", "reference_csv"):
        prefix = "canonical_" if name == "canonical" else "reference_"
        chosen = f"{prefix}{table or feed}"
        if chosen in FORMATS:
            return FORMATS[chosen]
        choices = ", ".join(key for key in FORMATS if key.startswith(prefix))
        raise UnknownFormat(f"{name} of which table? Use one of: {choices}")
    raise UnknownFormat(f"no format is named {name!r}. Formats: {', '.join(FORMATS)}")


def detect(name: str, head: str, feed: str | None = None) -> Format:
    """The one format that a file of that name, beginning with that text, is of; UnknownFormat otherwise."""
    fits = [
        format for format in FORMATS.values()
        if (feed is None or format.table.feed == feed) and format.matches(name, head)
    ]
    if len(fits) == 1:
        return fits[0]
    first = head.lstrip("\ufeff").split("\n", 1)[0][:120]
    if not fits:
        wanted = ", ".join(f.name for f in FORMATS.values() if feed is None or f.table.feed == feed)
        raise UnknownFormat(
            f"{name}: no known format begins with {first!r}. Name one with --format; for "
            f"{'feed ' + feed if feed else 'any feed'} they are: {wanted}"
        )
    raise UnknownFormat(
        f"{name}: could be {', '.join(f.name for f in fits)}. Say which with --format"
    )
