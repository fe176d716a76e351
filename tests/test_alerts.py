"""The alert rules speak of metrics that the node really has."""

import re
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric

from resolver import metrics

RULES = Path(__file__).parents[1] / "deploy" / "prometheus" / "biaoshi-alerts.yml"
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


def series(metric: Metric) -> set[str]:
    return {metric.name + suffix for suffix in SUFFIXES.get(metric.type, [])}


def test_every_metric_in_the_rules_exists() -> None:
    assert metrics.REQUESTS is not None, "importing the module registers its metrics"
    known = {name for metric in REGISTRY.collect() for name in series(metric)}
    expressions = re.findall(r"expr: (\|\n(?: {10,}.*\n)+|.*)", RULES.read_text("utf-8"))
    named = {name for text in expressions for name in re.findall(r"\bbiaoshi_\w+", text)}
    assert len(expressions) == RULES.read_text("utf-8").count("alert:") > 0
    assert named
    assert named <= known, named - known


def test_every_alert_says_what_to_do() -> None:
    text = RULES.read_text("utf-8")
    assert text.count("alert:") == text.count("summary:") == text.count("action:")
