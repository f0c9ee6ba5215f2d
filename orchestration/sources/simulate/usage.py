"""Token-usage records of a business day as canonical JSON lines, with the faults planted in them.

A day's requests are drawn into records by systematic sampling: every (hour, status, stream) gets
records by the accelerator time it takes, and each record stands for an equal part of its requests, so
totals stay unbiased at any number of records. Works part by part, so memory is bounded.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from datetime import date, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from orchestration.sources.simulate import calibration
from orchestration.sources.simulate.delivery import Feed, Landing
from orchestration.sources.simulate.demand import DayDemand, Demand
from orchestration.sources.simulate.network import HOURS_A_DAY, start_of_business_day
from orchestration.sources.simulate.randomness import generator, lognormal_around_one
from orchestration.sources.simulate.truth import UsageTruth

FEED = Feed("token_usage", "canonical", "token_usage", "simulated-gateway")
STATUSES = ("ok", "throttled", "failed")
OK, THROTTLED, FAILED = range(3)
BLOCK_HOURS = 6
LARGEST_PART = 250_000
# Records go to sites by this power of their load, and this share of records to whoever asks for little.
SITE_POWER = 0.7
RARE_SHARE = 0.15
# Most late records come soon, few after weeks: delays are spread by this power of a uniform number.
LATE_POWER = 3
MINUTES_A_DAY = 24 * 60
LONG_WINDOW_SECONDS, SHORT_WINDOW_SECONDS = 300, 60
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
UUID_GROUPS = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 16))
# Stands in a text for bytes that no UTF-8 text has; put in their place when the text is encoded.
NOT_UTF8_MARK = "\x01"
NOT_UTF8 = b"\xc4\xe3\xba\xc3"

BROKEN_KINDS = (
    "cut_json", "fractional_tokens", "negative_tokens", "above_bigint", "bad_timestamp", "unknown_status",
    "duplicate_key", "not_a_number", "not_utf8", "future_timestamp",
)  # fmt: skip


def broken(line: str, kind: str) -> str:
    """The record's line spoiled in one way that a strict parser must refuse."""
    record = json.loads(line)
    match kind:
        case "cut_json":
            return line[: len(line) * 2 // 3]
        case "fractional_tokens":
            return json.dumps({**record, "input_tokens": 1.5}, separators=(",", ":"))
        case "negative_tokens":
            return json.dumps({**record, "output_tokens": -42}, separators=(",", ":"))
        case "above_bigint":
            return json.dumps({**record, "input_tokens": 2**63}, separators=(",", ":"))
        case "bad_timestamp":
            return json.dumps(
                {**record, "occurred_at": "2026-13-45T99:00:00.000000Z"}, separators=(",", ":")
            )
        case "unknown_status":
            return json.dumps({**record, "status": "okay"}, separators=(",", ":"))
        case "duplicate_key":
            return line[:-1] + ',"input_tokens":1}'
        case "not_a_number":
            return json.dumps({**record, "input_tokens": float("nan")}, separators=(",", ":"))
        case "not_utf8":
            return json.dumps({**record, "tenant_id": "tenant-"}, separators=(",", ":")).replace(
                '"tenant-"', f'"tenant-{NOT_UTF8_MARK}"'
            )
        case "future_timestamp":
            return json.dumps(
                {**record, "occurred_at": "2031-01-01T00:00:00.000000Z"}, separators=(",", ":")
            )
    raise ValueError(f"no way to break a line is called {kind!r}")


def uuids(random: np.random.Generator, count: int) -> pl.Series:
    """Random UUIDs (version 4) as text."""
    octets = random.integers(0, 256, (count, 16), dtype=np.uint8)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    text = np.full((count, 36), ord("-"), np.uint8)
    column = 0
    for first, last in UUID_GROUPS:
        width = 2 * (last - first)
        text[:, column : column + width] = HEX[octets[:, first:last]].reshape(count, width)
        column += width + 1
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int64)
    return pl.Series(
        pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))
    )


class UsageWriter:
    """Writes the token-usage files of one business day after another."""

    def __init__(self, demand: Demand, landing: Landing, truth: UsageTruth, events_per_day: int):
        self.demand = demand
        self.network = demand.network
        self.landing = landing
        self.truth = truth
        self.events_per_day = events_per_day
        self._spool = landing.home.temporary / "simulate-late"
        if self._spool.exists():
            # What a run that was stopped left: its lines would come twice.
            shutil.rmtree(self._spool)
        self._carried: list[str] = []
        self._carried_conflicts = 0
        self._resend: tuple[str, bytes, int] | None = None
        self._fragments = self._stream_fragments()
        wide = demand.tenant < 10
        self._window = np.where(wide, SHORT_WINDOW_SECONDS, LONG_WINDOW_SECONDS)

    def _stream_fragments(self) -> pl.Series:
        """The JSON of what all records of a stream share."""
        demand, network = self.demand, self.network
        return pl.Series([
            f'","window_seconds":{SHORT_WINDOW_SECONDS if demand.tenant[k] < 10 else LONG_WINDOW_SECONDS}'
            f',"origin_site_id":"{network.site_ids[demand.origin[k]]}"'
            f',"serving_site_id":"{network.site_ids[demand.serving[k]]}"'
            f',"tenant_id":"{network.tenants[demand.tenant[k]].tenant_id}"'
            f',"model_id":"{network.models[demand.model[k]].model_id}"'
            f',"product":"{network.tenants[demand.tenant[k]].product}"'
            for k in range(len(demand.tenant))
        ])  # fmt: skip

    def write(self, day: date, today: DayDemand) -> None:
        """Writes the day's files (and those that late, repeated and re-sent records make) and counts them."""
        random = generator(self.network.seed, day, "usage")
        weights, cumulative = self._cells(day, today)
        # A random start makes the systematic sample unbiased.
        cumulative += random.random()
        faults = self._faults(day)
        block_hours = 1 if self.events_per_day > 4 * LARGEST_PART else BLOCK_HOURS
        first_of_day: tuple[str, bytes, int] | None = None
        self._repeat_same_name(day)
        for hour in range(0, HOURS_A_DAY, block_hours):
            bounds = (
                self._records_before(cumulative, hour),
                self._records_before(cumulative, hour + block_hours),
            )
            parts = max(1, -(-(bounds[1] - bounds[0]) // LARGEST_PART))
            edges = np.linspace(*bounds, parts + 1).astype(np.int64)
            for part in range(parts):
                suffix = f"-part{part + 1:02d}" if parts > 1 else ""
                name = f"token-usage-{day.isoformat()}-{hour:02d}{suffix}.jsonl.gz"
                content, lines = self._part(
                    day, random, today, weights, cumulative, edges[part], edges[part + 1], faults
                )
                self.landing.deliver(FEED, day, name, content, lines)
                first_of_day = first_of_day or (name, content, lines)
        self._deliver_late(day)
        self._resend_renamed(day, first_of_day)

    def close(self) -> None:
        """Removes what was put aside for later days; by the last day nothing is left in it."""
        if self._spool.exists():
            self._spool.rmdir()

    # Sampling

    def _cells(self, day: date, today: DayDemand) -> tuple[np.ndarray, np.ndarray]:
        """Requests that a record of each (hour, status, stream) stands for, and records up to each of them."""
        throttled = today.throttled_ratio[:, self.demand.serving]
        requests = np.stack(
            [
                today.requests * (1 - throttled) * (1 - calibration.FAILED_SHARE),
                today.requests * throttled,
                today.requests * (1 - throttled) * calibration.FAILED_SHARE,
            ],
            axis=1,
        )
        odds = self._odds(day, requests)
        by_status = odds.sum(axis=(0, 2))
        records = np.array([0.0, 0.0, calibration.FAILED_RECORD_SHARE]) * self.events_per_day
        throttled_share = requests[:, THROTTLED].sum() / requests.sum()
        if throttled_share > 0:
            # Never more records than cells that throttle, and few when little is throttled.
            wanted = self.events_per_day * min(
                calibration.THROTTLED_RECORD_SHARE, 4 * throttled_share
            )
            records[THROTTLED] = min(wanted, np.count_nonzero(odds[:, THROTTLED]))
        records[OK] = self.events_per_day - records[THROTTLED] - records[FAILED]
        expected = odds * (records / np.maximum(by_status, 1e-30))[None, :, None]
        weights = np.divide(requests, expected, out=np.zeros_like(requests), where=expected > 0)
        return weights.ravel(), np.cumsum(expected.ravel())

    def _odds(self, day: date, requests: np.ndarray) -> np.ndarray:
        """Odds of each cell to get a record: by its accelerator time, small sites and customers favoured.

        Records of equal accelerator time keep the noise of sampling out of a site's busy hour.
        """
        serving = self.demand.serving
        seconds = requests * self.demand.accelerator_seconds(day, serving)
        by_site = np.bincount(serving, seconds.sum(axis=(0, 1)), len(self.network.site_ids))
        odds = seconds * np.where(by_site > 0, by_site, 1)[serving] ** (SITE_POWER - 1)
        rare = np.sqrt(requests)
        return odds / odds.sum() + RARE_SHARE * rare / rare.sum()

    def _records_before(self, cumulative: np.ndarray, hour: int) -> int:
        """Records of the day before the hour begins."""
        if hour == 0:
            return 0
        if hour >= HOURS_A_DAY:
            return self.events_per_day
        cells_an_hour = len(STATUSES) * len(self.demand.tenant)
        return int(np.clip(np.floor(cumulative[hour * cells_an_hour - 1]), 0, self.events_per_day))

    # Faults

    def _faults(self, day: date) -> dict[str, np.ndarray]:
        """Record numbers of the day that are late, doubled, repeated by the next file, in conflict or broken."""
        random = generator(self.network.seed, day, "usage-faults")

        def chosen(share: float) -> np.ndarray:
            count = max(1, round(share * self.events_per_day))
            return np.unique(random.integers(0, self.events_per_day, count))

        late = chosen(calibration.LATE_SHARE)
        first, last = calibration.LATE_DAYS
        doubled, overlapping, conflicting = (
            np.setdiff1d(chosen(share), late)
            for share in (
                calibration.DUPLICATE_SHARE,
                calibration.OVERLAP_SHARE,
                calibration.CONFLICT_SHARE,
            )
        )
        return {
            "late": late,
            "delays": first
            + np.floor((last - first + 1) * random.random(len(late)) ** LATE_POWER).astype(
                np.int64
            ),
            "doubled": doubled,
            "overlapping": np.setdiff1d(overlapping, doubled),
            "conflicting": np.setdiff1d(conflicting, np.union1d(doubled, overlapping)),
            "broken": chosen(calibration.BROKEN_SHARE),
        }

    # Records

    def _part(
        self, day: date, random: np.random.Generator, today: DayDemand, weights: np.ndarray, cumulative: np.ndarray,
        first: int, last: int, faults: dict[str, np.ndarray],
    ) -> tuple[bytes, int]:  # fmt: skip
        """Text of one file that holds the records first to last of the day, and its number of lines."""
        cells = np.searchsorted(cumulative, np.arange(first, last) + 1.0)
        cells = np.minimum(cells, len(cumulative) - 1)
        streams = len(self.demand.tenant)
        hour, rest = np.divmod(cells, len(STATUSES) * streams)
        status, stream = np.divmod(rest, streams)
        values = self._values(random, today, weights[cells], hour, status, stream)
        lines = self._lines(day, random, hour, status, stream, values)

        late = self._within(faults["late"], first, last)
        delays = faults["delays"][(faults["late"] >= first) & (faults["late"] < last)]
        held_back = self._spool_late(day, lines, late, delays)
        kept = np.ones(last - first, bool)
        kept[late] = False
        counted = np.ones(last - first, bool)
        counted[held_back] = False
        self.truth.add(day, hour, status, stream, values, counted)

        extra, positions = self._extra_lines(day, random, lines, first, last, faults)
        carried, self._carried = self._carried, []
        self.truth.overlap_lines += len(carried) - self._carried_conflicts
        self.truth.conflict_lines += self._carried_conflicts
        self._carry(lines, first, last, faults)
        order = np.argsort(np.concatenate([np.flatnonzero(kept), positions]), kind="stable")
        text = pl.concat([lines.filter(pl.Series(kept)), pl.Series(extra, dtype=pl.String)]).gather(
            order
        )
        text = pl.concat([pl.Series(carried, dtype=pl.String), text])
        content = text.str.join("\n").item().encode() + b"\n"
        return content.replace(NOT_UTF8_MARK.encode(), NOT_UTF8), len(text)

    def _values(
        self, random: np.random.Generator, today: DayDemand, weights: np.ndarray, hour: np.ndarray,
        status: np.ndarray, stream: np.ndarray,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """Whole numbers of each record; what a throttled or failed request has not got is -1."""
        demand, count = self.demand, len(stream)
        requests = np.maximum(
            np.rint(weights * lognormal_around_one(random, calibration.RECORD_SIGMA, count)), 1
        )
        lengths = lognormal_around_one(random, calibration.LENGTH_SIGMA, (2, count))
        total_input = np.rint(requests * demand.input_length[stream] * lengths[0])
        cached = np.rint(
            total_input * demand.cached_share[stream] * random.uniform(0.94, 1.06, count)
        )
        output = np.maximum(np.rint(requests * demand.output_length[stream] * lengths[1]), 1)
        reasoning = np.rint(output * demand.reasoning_share[stream])
        busy = today.served_ratio[hour, demand.serving[stream]]
        first_token = (
            120_000 + 40 * demand.input_length[stream] * (1 - demand.cached_share[stream])
        ) * (1 + 2 * busy**4)
        first_token *= lognormal_around_one(random, 0.2, count)
        duration = first_token + demand.output_length[stream] * 30_000 * (1 + busy**4)
        ok = status == OK
        whole = {
            "request_count": requests,
            "input_tokens": np.where(ok, np.maximum(total_input - cached, 0), -1),
            "cached_input_tokens": np.where(ok, cached, -1),
            "output_tokens": np.where(ok, output, -1),
            "reasoning_tokens": np.where(ok, reasoning, -1),
            "time_to_first_token_us": np.where(ok, first_token, -1),
            "duration_us": np.where(
                status == THROTTLED, -1, np.where(ok, duration, first_token / 2)
            ),
        }
        return {name: np.rint(value).astype(np.int64) for name, value in whole.items()}

    def _lines(
        self, day: date, random: np.random.Generator, hour: np.ndarray, status: np.ndarray, stream: np.ndarray,
        values: dict[str, np.ndarray],
    ) -> pl.Series:  # fmt: skip
        """Each record as one line of canonical JSON."""
        minute = random.integers(0, 60, len(hour))
        # A window begins on a multiple of its length, so none reaches into the next hour.
        minute = np.where(self._window[stream] == LONG_WINDOW_SECONDS, minute - minute % 5, minute)
        began = start_of_business_day(day)
        starts = pl.Series([
            (began + timedelta(minutes=number)).strftime('","occurred_at":"%Y-%m-%dT%H:%M:00.000000Z')
            for number in range(MINUTES_A_DAY)
        ])  # fmt: skip
        states = pl.Series([f',"status":"{name}"' for name in STATUSES])
        frame = pl.DataFrame(values).select(
            pl.when(pl.all() >= 0).then(pl.all().cast(pl.String)).otherwise(pl.lit("null"))
        )
        return frame.select(
            pl.concat_str(
                pl.lit('{"event_id":"'),
                uuids(random, len(hour)),
                starts.gather(hour * 60 + minute),
                self._fragments.gather(stream),
                states.gather(status),
                *(part for name in values for part in (pl.lit(f',"{name}":'), pl.col(name))),
                pl.lit("}"),
            )
        ).to_series()

    @staticmethod
    def _within(numbers: np.ndarray, first: int, last: int) -> np.ndarray:
        return numbers[(numbers >= first) & (numbers < last)] - first

    def _extra_lines(
        self, day: date, random: np.random.Generator, lines: pl.Series, first: int, last: int,
        faults: dict[str, np.ndarray],
    ) -> tuple[list[str], np.ndarray]:  # fmt: skip
        """Lines beside the records (doubled, in conflict, broken) and where among them they stand."""
        count = last - first
        doubled = self._within(faults["doubled"], first, last)
        conflicting = self._within(faults["conflicting"], first, last)[::2]
        spoiled = self._within(faults["broken"], first, last)
        extra = lines.gather(doubled).to_list()
        extra += [self._in_conflict(line) for line in lines.gather(conflicting).to_list()]
        after = np.concatenate([doubled, conflicting])
        positions = (
            after + 0.5 + random.integers(0, count, len(after)) % np.maximum(count - after, 1)
        )
        for number, line in zip(spoiled, lines.gather(spoiled).to_list(), strict=True):
            turn = int(np.searchsorted(faults["broken"], number + first))
            kind = BROKEN_KINDS[(turn + day.toordinal()) % len(BROKEN_KINDS)]
            fresh = json.dumps(
                {**json.loads(line), "event_id": f"broken-{day.isoformat()}-{number + first}"},
                separators=(",", ":"),
            )
            extra.append(broken(fresh, kind))
            self.truth.broken_lines[kind] += 1
        self.truth.duplicate_lines += len(doubled)
        self.truth.conflict_lines += len(conflicting)
        return extra, np.concatenate([positions, spoiled + 0.5])

    def _carry(
        self, lines: pl.Series, first: int, last: int, faults: dict[str, np.ndarray]
    ) -> None:
        """Keeps what the next file repeats: equal lines, and equal ids with other content."""
        overlapping = self._within(faults["overlapping"], first, last)
        conflicting = self._within(faults["conflicting"], first, last)[1::2]
        self._carried = lines.gather(overlapping).to_list()
        self._carried += [self._in_conflict(line) for line in lines.gather(conflicting).to_list()]
        self._carried_conflicts = len(conflicting)

    @staticmethod
    def _in_conflict(line: str) -> str:
        """The same event id with other content."""
        record = json.loads(line)
        return json.dumps(
            {**record, "request_count": record["request_count"] + 1}, separators=(",", ":")
        )

    # Deliveries out of turn

    def _spool_late(
        self, day: date, lines: pl.Series, late: np.ndarray, delays: np.ndarray
    ) -> np.ndarray:
        """Puts late lines aside until their delivery day; those due after the last day are held back."""
        held_back, by_day = [], defaultdict(list)
        for number, delay, line in zip(late, delays, lines.gather(late).to_list(), strict=True):
            due = day + timedelta(days=int(delay))
            if due > self.network.end_date:
                held_back.append(number)
            else:
                by_day[due].append(line)
        for due, due_lines in by_day.items():
            self._spool.mkdir(parents=True, exist_ok=True)
            with (self._spool / f"{due.isoformat()}.jsonl").open("ab") as stream:
                stream.write("".join(f"{line}\n" for line in due_lines).encode())
        self.truth.held_back_records += len(held_back)
        self.truth.late_records += len(late) - len(held_back)
        return np.array(held_back, dtype=np.int64)

    def _deliver_late(self, day: date) -> None:
        path = self._spool / f"{day.isoformat()}.jsonl"
        if path.exists():
            content = path.read_bytes()
            self.landing.deliver(
                FEED,
                day,
                f"token-usage-late-{day.isoformat()}.jsonl.gz",
                content,
                content.count(b"\n"),
            )
            path.unlink()

    def _resend_renamed(self, day: date, first_of_day: tuple[str, bytes, int] | None) -> None:
        """Every few days a file comes again under another name, compressed otherwise; or the next day, as it was."""
        turn = day.toordinal() % calibration.RESEND_EVERY_DAYS
        if first_of_day is None or turn not in (0, 3):
            return
        name, content, lines = first_of_day
        if turn == 0:
            again = name.replace("token-usage-", "token-usage-resent-")
            self.landing.deliver(FEED, day, again, content, lines, level=0)
            self.truth.resent_files.append(
                {"delivered_date": day.isoformat(), "name": again, "of": name, "lines": lines}
            )
        else:
            self._resend = first_of_day

    def _repeat_same_name(self, day: date) -> None:
        if self._resend:
            name, content, lines = self._resend
            self.landing.deliver(FEED, day, name, content, lines)
            self.truth.resent_files.append(
                {"delivered_date": day.isoformat(), "name": name, "of": name, "lines": lines}
            )
            self._resend = None


def broken_kinds() -> Counter[str]:
    """A zero for each way a line is broken."""
    return Counter(dict.fromkeys(BROKEN_KINDS, 0))
