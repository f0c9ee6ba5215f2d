"""openb: pods and nodes are two files of one cluster."""

from orchestration.sources.base import Options
from orchestration.sources.tabular import OPENB_NODES, OPENB_PODS


def test_pods_and_nodes_are_of_one_cluster():
    """Prevents jobs that no inventory holds: demand without supply, supply without demand."""
    clusters = {
        kind.columns(Options(name="list.csv", source_id=kind.name))["cluster_id"] for kind in (OPENB_PODS, OPENB_NODES)
    }
    assert clusters == {"'openb'"}


def test_a_named_source_keeps_its_name():
    """Prevents two clusters of the same format from becoming one."""
    assert OPENB_PODS.columns(Options(name="list.csv", source_id="east"))["cluster_id"] == "'east'"
