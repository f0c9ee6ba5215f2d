"""Accelerator telemetry: one wide sample of every device each eight hours, staggered over the devices.

An eighth of a site's devices is sampled at each hour, so every hour is seen. What an exporter of the
device's vendor does not give is null. Plants silent exporters, a device stuck at zero and counter resets.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration.sources.simulate import calibration
from orchestration.sources.simulate.delivery import Feed, Landing
from orchestration.sources.simulate.demand import DayDemand
from orchestration.sources.simulate.network import HOURS_A_DAY, Network, start_of_business_day
from orchestration.sources.simulate.outages import hours_out, outages_during
from orchestration.sources.simulate.queues import Job, seconds
from orchestration.sources.simulate.randomness import ONCE, generator

FEED = Feed("telemetry", "canonical", "telemetry", "simulated-exporter")
INTERVAL_HOURS = calibration.TELEMETRY_INTERVAL_HOURS
SAMPLES_A_DAY = HOURS_A_DAY // INTERVAL_HOURS
UP, DOWN, MAINTENANCE = range(3)
STATES = ("up", "down", "maintenance")
# A GPU that fell off the bus, the usual end of a node.
XID_OFF_THE_BUS = 79
IDLE_POWER_RATIO, BUSY_POWER_RATIO = 0.17, 0.93
RESETS_A_DAY = 3
# Planted: (pool, first and last day before the end) whose exporter is silent, and the device stuck at zero.
SILENT_POOLS = (("cn-sn-serving-ascend-910b", 25, 23), ("nx-zw-training-cambricon-mlu590", 8, 8))
SILENT_DEVICES = (
    ("gz-ga-training-ascend-910b", 3, 1, 30, 20),
    ("cn-js-serving-ascend-910b", 2, 5, 15, 9),
)
STUCK_DEVICE = ("gba-sg-serving-nvidia-h20", 4, 2, 16, 5)


class TelemetryWriter:
    """Writes the telemetry file of one business day after another and keeps the energy counters."""

    def __init__(self, network: Network, landing: Landing):
        self.network = network
        self.landing = landing
        pool, node, slot = [], [], []
        self._first_device: dict[str, int] = {}
        for number, each in enumerate(network.pools):
            self._first_device[each.pool_id] = len(pool)
            pool += [number] * each.accelerator_count
            node += np.repeat(np.arange(each.node_count), each.accelerators_per_node).tolist()
            slot += np.tile(np.arange(each.accelerators_per_node), each.node_count).tolist()
        self.pool, self.node, self.slot = np.array(pool), np.array(node), np.array(slot)
        count = len(pool)
        pools = network.pools
        random = generator(network.seed, ONCE, "devices")
        self.character = np.clip(random.normal(1, 0.05, count), 0.85, 1.15)
        self.energy = random.uniform(1e9, 4e10, count)
        self.is_serving = np.array([each.purpose == "serving" for each in pools])[self.pool]
        self.is_nvidia = np.array([each.accelerator_id.startswith("nvidia") for each in pools])[
            self.pool
        ]
        self.site = np.array([each.site for each in pools])[self.pool]
        self.power_limit = np.array(
            [network.power_watts[each.accelerator_id] or 400.0 for each in pools]
        )[self.pool]
        self.memory = np.array([network.memory_gb[each.accelerator_id] * 1e9 for each in pools])[
            self.pool
        ]
        node_ids = [each.node_id(n) for each, n in zip((pools[p] for p in pool), node, strict=True)]
        self.labels = pl.DataFrame({
            "device_id": [f"{name}-{number:02d}" for name, number in zip(node_ids, slot, strict=True)],
            "node_id": node_ids,
            "site_id": [pools[p].site_id for p in pool],
            "pool_id": [pools[p].pool_id for p in pool],
            "accelerator_id": [pools[p].accelerator_id for p in pool],
        })  # fmt: skip
        self._per_node = {each.pool_id: each.accelerators_per_node for each in pools}
        self.truth = TelemetryTruth(network)

    def device(self, pool_id: str, node: int, slot: int) -> int:
        """Number of the device in the arrays."""
        return self._first_device[pool_id] + node * self._per_node[pool_id] + slot

    def _devices_of(self, pool_id: str) -> slice:
        first = self._first_device[pool_id]
        pool = self.network.pools[self.pool[first]]
        return slice(first, first + pool.accelerator_count)

    def write(self, day: date, today: DayDemand, jobs: list[Job]) -> None:
        """Writes the business day's file and counts it. ``jobs``: attempts that ran in the day."""
        random = generator(self.network.seed, day, "telemetry")
        count = len(self.pool)
        states, xid = self._states(day)
        activity, job_ids = self._activity(day, today, jobs)
        # (sample, device): the hour of each sample is staggered by device.
        hours = (
            np.arange(count) % INTERVAL_HOURS + INTERVAL_HOURS * np.arange(SAMPLES_A_DAY)[:, None]
        )
        devices = np.broadcast_to(np.arange(count), hours.shape)
        state = states[devices, hours]
        active = np.where(state == UP, activity[devices, hours], 0)
        active = np.clip(active * random.normal(1, 0.04, hours.shape), 0, 1)
        power = self.power_limit * (
            IDLE_POWER_RATIO + (BUSY_POWER_RATIO - IDLE_POWER_RATIO) * active
        )
        power = np.where(state == DOWN, 0, power * random.normal(1, 0.02, hours.shape))
        energy = self._energy(random, day, power, state)
        stuck = self._stuck(day)
        shown = np.where(stuck & (state == UP), 0, active)
        rows = {
            "hour": hours, "device": devices, "state": state, "active": active, "shown": shown,
            "power": power, "energy": energy, "xid": xid[devices, hours], "job": job_ids[devices, hours],
            "noise": random.random(hours.shape),
        }  # fmt: skip
        in_service = np.array([pool.in_service(day) for pool in self.network.pools])[self.pool]
        spoken = (in_service & ~self._silent(day))[None, :] & np.ones(hours.shape, bool)
        job_names = [job.job_id for job in jobs]
        frame = self._frame(day, {name: value[spoken] for name, value in rows.items()}, job_names)
        self.truth.add(day, frame, in_service, spoken, self.pool)
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)
        self.landing.deliver(
            FEED, day, f"telemetry-{day.isoformat()}.parquet", buffer.getvalue(), frame.height
        )

    def _states(self, day: date) -> tuple[np.ndarray, np.ndarray]:
        """(device, hour) state and XID code."""
        states = np.zeros((len(self.pool), HOURS_A_DAY), np.int8)
        xid = np.zeros((len(self.pool), HOURS_A_DAY), np.int16)
        for outage in outages_during(self.network, day):
            hours = hours_out(outage, day)
            first = self.device(outage.pool_id, outage.node, 0)
            devices = slice(first, first + self._per_node[outage.pool_id])
            if outage.device_state == "maintenance":
                states[devices, hours] = np.where(states[devices, hours] == DOWN, DOWN, MAINTENANCE)
            else:
                states[devices, hours] = DOWN
                xid[first + outage.slot, hours] = XID_OFF_THE_BUS
        return states, xid

    def _activity(
        self, day: date, today: DayDemand, jobs: list[Job]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(device, hour) share of time at work, and number of the job held there in the list (-1: none)."""
        activity = np.zeros((len(self.pool), HOURS_A_DAY))
        job_ids = np.full((len(self.pool), HOURS_A_DAY), -1, np.int32)
        served = today.served_ratio[:, self.site].T * self.character[:, None]
        activity[self.is_serving] = served[self.is_serving]
        began = seconds(start_of_business_day(day))
        for number, job in enumerate(jobs):
            if job.started_at is None:
                continue
            first = max(0, -((began - job.started_at) // 3600))
            last = (
                HOURS_A_DAY
                if job.ended_at is None
                else min(HOURS_A_DAY, -((began - job.ended_at) // 3600))
            )
            if first >= last:
                continue
            for node, mask in job.held:
                base = self.device(job.pool.pool_id, node, 0)
                held = [
                    base + bit for bit in range(job.pool.accelerators_per_node) if mask >> bit & 1
                ]
                activity[held, first:last] = job.activity
                job_ids[held, first:last] = number
        return activity, job_ids

    def _energy(
        self, random: np.random.Generator, day: date, power: np.ndarray, state: np.ndarray
    ) -> np.ndarray:
        """Counter readings; a driver that loads anew begins at zero (planted, and after an outage)."""
        reset = np.zeros(power.shape, bool)
        for _ in range(RESETS_A_DAY):
            reset[int(random.integers(SAMPLES_A_DAY)), int(random.integers(power.shape[1]))] = True
        reset[1:] |= (state[:-1] == DOWN) & (state[1:] == UP)
        readings = np.empty(power.shape)
        for sample in range(SAMPLES_A_DAY):
            self.energy = np.where(reset[sample], 0.0, self.energy)
            readings[sample] = self.energy
            self.energy = self.energy + power[sample] * INTERVAL_HOURS * 3600
        self.truth.energy_resets += int(reset.sum())
        return readings

    def _between(self, day: date, first: int, last: int) -> bool:
        return self.network.day_before_end(first) <= day <= self.network.day_before_end(last)

    def _silent(self, day: date) -> np.ndarray:
        silent = np.zeros(len(self.pool), bool)
        for pool_id, first, last in SILENT_POOLS:
            if self._between(day, first, last):
                silent[self._devices_of(pool_id)] = True
        for pool_id, node, slot, first, last in SILENT_DEVICES:
            if self._between(day, first, last):
                silent[self.device(pool_id, node, slot)] = True
        return silent

    def _stuck(self, day: date) -> np.ndarray:
        stuck = np.zeros(len(self.pool), bool)
        pool_id, node, slot, first, last = STUCK_DEVICE
        if self._between(day, first, last):
            stuck[self.device(pool_id, node, slot)] = True
        return stuck

    def _frame(self, day: date, rows: dict[str, np.ndarray], job_names: list[str]) -> pl.DataFrame:
        """The samples with the contract's columns, in time order within the day's hours."""
        order = np.lexsort((rows["device"], rows["hour"]))
        rows = {name: value[order] for name, value in rows.items()}
        device, up = rows["device"], rows["state"] != DOWN
        nvidia, noise = self.is_nvidia[device], rows["noise"]
        shown, temperature = rows["shown"], 34 + 44 * rows["active"] + 4 * noise
        names = pl.Series(job_names, dtype=pl.String)
        began = start_of_business_day(day)
        instants = pl.Series(
            [began + timedelta(hours=hour) for hour in range(HOURS_A_DAY)],
            dtype=pl.Datetime("us", "UTC"),
        )

        def where(condition: np.ndarray, values: np.ndarray, digits: int) -> pl.Series:
            return pl.Series(np.where(condition, np.round(values, digits), np.nan)).fill_nan(None)

        job = pl.Series(rows["job"])
        return self.labels[device].select(
            sampled_at=instants.gather(rows["hour"]),
            device_id="device_id",
            node_id="node_id",
            site_id="site_id",
            pool_id="pool_id",
            accelerator_id="accelerator_id",
            interval_seconds=pl.lit(INTERVAL_HOURS * 3600, pl.Int64),
            device_state=pl.Series(STATES).gather(rows["state"]),
            gpu_utilization_ratio=where(up & nvidia, np.minimum(shown * 1.08, 1), 4),
            engine_active_ratio=where(up & nvidia, shown, 4),
            sm_active_ratio=where(up, shown * np.where(nvidia, 0.94, 1), 4),
            memory_used_bytes=where(
                up, self.memory[device] * np.where(shown > 0.02, 0.72 + 0.2 * noise, 0.02), 0
            ),
            memory_total_bytes=where(up, self.memory[device], 0),
            power_watts=where(up, rows["power"], 1),
            energy_joules=where(up, rows["energy"], 0),
            temperature_celsius=where(up, temperature, 1),
            sm_clock_mhz=where(up, 1200 + 500 * rows["active"], 0),
            memory_clock_mhz=where(up & nvidia, np.full(len(device), 2619.0), 0),
            xid_code=pl.Series(rows["xid"], dtype=pl.Int64).set(pl.Series(~nvidia), None),
            health_status=pl.Series(up.astype(np.int64)).set(pl.Series(nvidia), None),
            job_id=names.gather(pl.Series(np.maximum(rows["job"], 0))).set(job < 0, None)
            if len(names)
            else pl.Series([None] * len(device), dtype=pl.String),
        )


class TelemetryTruth:
    """Samples by state, devices, installed accelerators, and what was planted."""

    def __init__(self, network: Network):
        self.network = network
        self.samples: Counter[str] = Counter()
        self.samples_by_day: dict[str, int] = {}
        self.device_hours_by_state: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.missing_samples = 0
        self.energy_resets = 0
        self.installed: list[dict] = []
        self.devices: set[str] = set()

    def add(
        self,
        day: date,
        frame: pl.DataFrame,
        in_service: np.ndarray,
        spoken: np.ndarray,
        pool: np.ndarray,
    ) -> None:
        """Counts one business day's file."""
        self.samples_by_day[day.isoformat()] = frame.height
        self.missing_samples += int(in_service.sum()) * SAMPLES_A_DAY - int(spoken.sum())
        self.devices |= set(frame["device_id"].unique())
        for state, site, accelerator, count in (
            frame.group_by("device_state", "site_id", "accelerator_id")
            .len()
            .sort(pl.all())
            .iter_rows()
        ):
            self.samples[state] += count
            self.device_hours_by_state[f"{site}/{accelerator}"][state] += count * INTERVAL_HOURS
        counts: Counter[tuple[str, str, str]] = Counter()
        for each in self.network.pools:
            if each.in_service(day):
                counts[each.site_id, each.accelerator_id, each.purpose] += each.accelerator_count
        self.installed += [
            {"usage_date": day.isoformat(), "site_id": site, "accelerator_id": accelerator, "purpose": purpose,
             "installed_accelerators": count}
            for (site, accelerator, purpose), count in sorted(counts.items())
        ]  # fmt: skip

    def as_dict(self) -> dict:
        """Everything counted, in plain types."""
        end = self.network.day_before_end
        return {
            "samples_by_state": dict(sorted(self.samples.items())),
            "sample_interval_hours": INTERVAL_HOURS,
            "samples_by_usage_date": self.samples_by_day,
            "sampled_hours_by_site_accelerator_and_state": {
                key: dict(sorted(states.items())) for key, states in sorted(self.device_hours_by_state.items())
            },
            "missing_samples": self.missing_samples,
            "device_count": len(self.devices),
            "energy_counter_resets": self.energy_resets,
            "silent_pools": [
                {"pool_id": pool, "first_date": end(first).isoformat(), "last_date": end(last).isoformat()}
                for pool, first, last in SILENT_POOLS
            ],
            "silent_devices": [
                {"pool_id": pool, "node": node + 1, "slot": slot, "first_date": end(first).isoformat(),
                 "last_date": end(last).isoformat()}
                for pool, node, slot, first, last in SILENT_DEVICES
            ],
            "stuck_at_zero": {
                "pool_id": STUCK_DEVICE[0], "node": STUCK_DEVICE[1] + 1, "slot": STUCK_DEVICE[2],
                "first_date": end(STUCK_DEVICE[3]).isoformat(), "last_date": end(STUCK_DEVICE[4]).isoformat(),
            },
            "installed_by_usage_date": self.installed,
        }  # fmt: skip
