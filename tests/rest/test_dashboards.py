"""What Grafana and Prometheus are given agrees with what a server exports, and with the compose file."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from tests.support.server import Api

pytestmark = pytest.mark.parity("D8")

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
OF_CLUSTERS = set(re.findall(r'"(slotcast_\w+)"', (ROOT / "server" / "cluster.py").read_text()))
"""A node alone has none of these."""
SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def base(name: str) -> str:
    return next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)


def dashboards() -> dict[str, Any]:
    return {path.name: orjson.loads(path.read_bytes()) for path in DASHBOARDS}


def asked() -> dict[str, str]:
    """Every metric that a panel or an alert asks for, and one place where it does."""
    texts = {path.name: path.read_text() for path in DASHBOARDS} | {"alerts.yml": (DEPLOY / "alerts.yml").read_text()}
    return {
        name: where
        for where, text in texts.items()
        for name in re.findall(r"\bslotcast_[a-z_]+", text)
    }  # fmt: skip


async def test_every_metric_is_exported(api: Api) -> None:
    """One that was renamed would be an empty panel, and an alert that keeps silent for ever."""
    text = (await api.get("/metrics")).body.decode()
    exported = {base(name) for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)}
    found = asked()
    assert len(found) > 30
    assert {n: w for n, w in found.items() if base(n) not in exported | {base(c) for c in OF_CLUSTERS}} == {}


async def test_labels_are_those_of_the_metric(api: Api) -> None:
    """By which panels group and legends name."""
    text = (await api.get("/metrics")).body.decode()
    labels: dict[str, set[str]] = {}
    for name, inner in re.findall(r"^(slotcast_\w+){([^}]*)}", text, re.MULTILINE):
        labels.setdefault(name, {"instance", "job"}).update(re.findall(r"(\w+)=", inner))
    wrong = []
    for name, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                by = {n.strip() for part in re.findall(r"by \(([^)]*)\)", target["expr"]) for n in part.split(",")}
                metrics = set(re.findall(r"\bslotcast_[a-z_]+", target["expr"])) & set(labels)
                legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                assert legend <= by, (name, panel["title"])
                wrong += [(name, panel["title"], by) for metric in metrics if not by <= labels[metric]]
    assert wrong == []


def test_dashboards_are_whole() -> None:
    """Ids and titles of their own, panels that do not cover each other, the one data source."""
    found = dashboards()
    assert len({board["uid"] for board in found.values()}) == len({b["title"] for b in found.values()}) == len(found)
    source = yaml.safe_load((DEPLOY / "grafana" / "datasource.yml").read_text())["datasources"][0]
    for board in found.values():
        covered: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not covered & cells, panel["title"]
            assert max(x for x, _ in cells) < 24
            covered |= cells
        assert len({p["id"] for p in board["panels"]}) == len(board["panels"])


def test_compose_provisions_all_of_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounted = {v.split(":")[0]: v.split(":")[1] for v in services["grafana"]["volumes"]}
    folder = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yml").read_text())["providers"][0]["options"]["path"]
    for path in DASHBOARDS:
        assert mounted[f"./{path.relative_to(ROOT)}"] == f"{folder}/{path.name}"
    assert {f"./{p.relative_to(ROOT)}" for p in (DEPLOY / "grafana").glob("*.yml")} <= set(mounted)
    url = yaml.safe_load((DEPLOY / "grafana" / "datasource.yml").read_text())["datasources"][0]["url"]
    assert url == "http://prometheus:9090"
    assert all(port.startswith("127.0.0.1:") for name in ("grafana", "prometheus") for port in services[name]["ports"])
