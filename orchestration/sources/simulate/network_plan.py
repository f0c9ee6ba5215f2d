"""The plan of the simulated network: which pools stand where, and how full each site runs.

All of it is assumption: no operator publishes its inventory. Dates are days before (negative: after)
the last simulated day, so that any end date gives the same network.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolPlan:
    """A pool to build: nodes, accelerators in each, and when it comes and goes."""

    site_id: str
    purpose: str
    accelerator_id: str
    node_count: int
    accelerators_per_node: int
    commissioned_days_before: int
    retired_days_before: int | None = None
    training_load: float = 0.0
    submit_limit_ratio: float = 0.88


@dataclass(frozen=True)
class DeliveryPlan:
    """An order not yet in service."""

    site_id: str
    accelerator_id: str
    purpose: str
    accelerator_count: int
    days_after: int
    commitment: str


# training_load: accelerators that people want over accelerators there. submit_limit_ratio: they hold their
# jobs back while more than this share of the pool is asked for, so a pool below 1 is full but not short.
HUB_POOLS = (
    PoolPlan("jjj-zjk", "serving", "ascend-910c", 10, 16, 320),
    PoolPlan("jjj-zjk", "serving", "nvidia-h20", 8, 8, 520),
    PoolPlan("yrd-demo", "serving", "ascend-910c", 8, 16, 300),
    PoolPlan("yrd-wuhu", "serving", "thead-ppu-810e", 16, 8, 260),
    PoolPlan("gba-sg", "serving", "nvidia-h20", 20, 8, 480),
    PoolPlan("cy-tf", "serving", "ascend-910b", 16, 8, 610),
    PoolPlan("cy-cq", "serving", "hygon-k100-ai", 28, 4, 410),
    PoolPlan("nmg-hlge", "serving", "ascend-910c", 12, 16, 290),
    PoolPlan("nmg-hlge", "serving", "kunlunxin-p800", 10, 8, 27),
    PoolPlan("gz-ga", "serving", "ascend-910b", 20, 8, 590),
    PoolPlan("gs-qy", "serving", "cambricon-mlu590", 14, 8, 350),
    PoolPlan("nx-zw", "serving", "nvidia-h800", 14, 8, 700),
    PoolPlan("jjj-zjk", "training", "ascend-910b", 24, 8, 560, training_load=0.75),
    PoolPlan("jjj-zjk", "training", "nvidia-a100", 8, 8, 1400, 19, training_load=0.6),
    PoolPlan(
        "yrd-demo", "training", "nvidia-h800", 16, 8, 640, training_load=1.2, submit_limit_ratio=1.5
    ),
    PoolPlan("yrd-wuhu", "training", "thead-ppu-810e", 8, 8, 10, training_load=0.4),
    PoolPlan("gba-sg", "training", "nvidia-a800", 16, 8, 820, training_load=0.7),
    PoolPlan("cy-cq", "training", "metax-c550", 24, 4, 380, training_load=0.6),
    PoolPlan("nmg-hlge", "training", "ascend-910c", 16, 16, 290, training_load=0.8),
    PoolPlan("gz-ga", "training", "ascend-910b", 24, 8, 590, training_load=0.75),
    PoolPlan(
        "gs-qy", "training", "ascend-910c", 12, 16, 240, training_load=1.4, submit_limit_ratio=1.7
    ),
    PoolPlan("nx-zw", "training", "cambricon-mlu590", 16, 8, 430, training_load=0.7),
)

# site: (accelerator, nodes, accelerators a node, days before).
_HOTSPOT_POOLS = {
    "cn-bj": ("nvidia-h20", 8, 8, 450),
    "cn-tj": ("ascend-910b", 3, 8, 500),
    "cn-he": ("ascend-910b", 4, 8, 400),
    "cn-sx": ("cambricon-mlu590", 3, 8, 330),
    "cn-nm": ("ascend-910b", 2, 8, 420),
    "cn-ln": ("ascend-910b", 4, 8, 500),
    "cn-jl": ("hygon-k100-ai", 4, 4, 380),
    "cn-hl": ("ascend-910b", 3, 8, 620),
    "cn-sh": ("nvidia-h20", 7, 8, 430),
    "cn-js": ("ascend-910b", 8, 8, 540),
    "cn-zj": ("thead-ppu-810e", 7, 8, 250),
    "cn-ah": ("metax-c550", 4, 8, 310),
    "cn-fj": ("ascend-910b", 4, 8, 470),
    "cn-jx": ("ascend-910b", 3, 8, 470),
    "cn-sd": ("kunlunxin-p800", 7, 8, 280),
    "cn-ha": ("ascend-910b", 6, 8, 510),
    "cn-hb": ("ascend-910b", 5, 8, 510),
    "cn-hn": ("ascend-910b", 5, 8, 450),
    "cn-gd": ("nvidia-h20", 9, 8, 480),
    "cn-gx": ("ascend-910b", 3, 8, 430),
    "cn-hi": ("hygon-k100-ai", 4, 4, 360),
    "cn-cq": ("ascend-910b", 4, 8, 470),
    "cn-sc": ("ascend-910b", 6, 8, 570),
    "cn-gz": ("ascend-910b", 3, 8, 590),
    "cn-yn": ("kunlunxin-p800", 3, 8, 270),
    "cn-xz": ("ascend-910b", 1, 8, 240),
    "cn-sn": ("ascend-910b", 4, 8, 440),
    "cn-gs": ("cambricon-mlu590", 2, 8, 350),
    "cn-qh": ("hygon-k100-ai", 2, 4, 340),
    "cn-nx": ("ascend-910b", 2, 8, 390),
    "cn-xj": ("cambricon-mlu590", 3, 8, 300),
}
HOTSPOT_POOLS = tuple(
    PoolPlan(site_id, "serving", accelerator_id, nodes, per_node, days_before)
    for site_id, (accelerator_id, nodes, per_node, days_before) in _HOTSPOT_POOLS.items()
)
POOLS = HUB_POOLS + HOTSPOT_POOLS

PLANNED = (
    DeliveryPlan("gba-sg", "nvidia-h20", "serving", 32, 40, "committed"),
    DeliveryPlan("nmg-hlge", "ascend-910c", "serving", 64, 55, "committed"),
    DeliveryPlan("gz-ga", "ascend-910c", "training", 64, 75, "committed"),
    DeliveryPlan("nx-zw", "ascend-950pr", "serving", 48, 110, "planned"),
    DeliveryPlan("cn-zj", "thead-ppu-810e", "serving", 16, 95, "planned"),
    DeliveryPlan("cn-bj", "ascend-910c", "serving", 32, 70, "planned"),
)

# Mean serving demand over installed serving accelerators on the last simulated day, and weekly growth
# there (log-points). Sites left out run at DEFAULT_USE. Busy hours stand about 1.4 times higher.
DEFAULT_USE = (0.45, 0.003)
SITE_USE = {
    # Planted: these fill up.
    "cn-bj": (0.74, 0.022),
    "cn-gd": (0.53, 0.030),
    "cn-zj": (0.50, 0.028),
    "cn-sc": (0.47, 0.026),
    "gba-sg": (0.50, 0.024),
    # Growing, with room.
    "nmg-hlge": (0.44, 0.012),
    "yrd-demo": (0.48, 0.006),
    "cn-js": (0.42, 0.008),
    "gz-ga": (0.36, 0.008),
    # Planted: flat.
    "cn-ln": (0.38, 0.0),
    "cn-hi": (0.33, 0.0),
    "cn-qh": (0.30, 0.0),
    "cy-cq": (0.42, 0.0),
    # Planted: idle.
    "cn-xz": (0.02, 0.0),
}
PLANTED_HOTSPOTS = ("cn-bj", "cn-gd", "cn-zj", "cn-sc", "gba-sg")
PLANTED_FLAT = ("cn-ln", "cn-hi", "cn-qh", "cy-cq")
PLANTED_IDLE = ("cn-xz",)
# Planted: training pools that are asked for more than they have.
PLANTED_SHORT_TRAINING = ("yrd-demo-training-nvidia-h800", "gs-qy-training-ascend-910c")


@dataclass(frozen=True)
class Misroute:
    """An old rule at some of an origin's gateways (planted): part of what its nearest hub should serve goes to a dear site.

    Only reasoning models, whose requests are all alike, so that what was moved is worth what the mean token is.
    """

    origin_site_id: str
    dear_site_id: str
    use_ratio: float
    """Mean load that comes to the dear site over its serving accelerators on the last day; less where there is not so much."""


# No hotspot serves what another asks for but these, so the marts show the flows by origin and serving site alone. Power
# and cooling of the dear sites cost 0.89 CNY a kWh, of their hubs 0.41 to 0.56; every route is well within the class of 20 ms.
PLANTED_MISROUTES = (
    Misroute("cn-he", "cn-sd", 0.05),
    Misroute("cn-nm", "cn-he", 0.05),
    Misroute("cn-sx", "cn-tj", 0.05),
    Misroute("cn-gx", "cn-hn", 0.05),
    Misroute("cn-gz", "cn-hb", 0.05),
    Misroute("cn-ha", "cn-sh", 0.05),
)


@dataclass(frozen=True)
class Incident:
    """Part of a site's serving pool down for some hours (planted)."""

    site_id: str
    days_before: int
    start_hour: int
    hours: int
    node_share: float


INCIDENTS = (
    Incident("cn-hb", 12, 13, 11, 0.5),
    Incident("gz-ga", 33, 2, 9, 0.5),
)
