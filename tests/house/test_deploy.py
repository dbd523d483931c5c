"""What operators deploy agrees with the code and with itself. None of it is started here."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.config import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
NODES = {"slotcast-1", "slotcast-2"}
SUFFIXES = ("_total", "_bucket", "_count", "_sum")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


@pytest.fixture(scope="module")
def deployment() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yml").read_text()))
    return next(d for d in documents if d["kind"] == "Deployment")["spec"]


def settings_named(text: str) -> set[str]:
    return {found.lower() for found in re.findall(rf"\b{PREFIX}([A-Z_]+)\b", text)}


@pytest.mark.parametrize(
    "name", ["docker-compose.yml", "Dockerfile", "deploy/example.env", "deploy/kubernetes.yml", "docs/operations.md"]
)
def test_only_settings_that_exist_are_named(name: str) -> None:
    """A node refuses to start with one that does not. `SLOTCAST_PUBLISH` is for the compose file alone."""
    named = settings_named((ROOT / name).read_text())
    assert named
    assert named - set(Settings.__struct_fields__) <= {"publish", "config"}


def test_the_nodes_differ_only_in_their_names(services: dict[str, Any]) -> None:
    """And they have what makes them one cluster."""
    seen = []
    for name in sorted(NODES):
        node = dict(services[name])
        environment = dict(node.pop("environment"))
        assert environment.pop("SLOTCAST_NODE_NAME") == name
        assert {"DATABASE_URL", "SLOTCAST_REDIS_URL", "SLOTCAST_JWT_SECRET"} <= set(environment)
        seen.append((node, environment))
    assert seen[0] == seen[1]


def test_secrets_are_asked_for_and_none_stands_there() -> None:
    """Compose says which one is missing, and the example names them all."""
    wanted = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    assert wanted == {"POSTGRES_PASSWORD", "SLOTCAST_JWT_SECRET"}
    example = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy" / "example.env").read_text().splitlines()
        if not line.startswith("#")
    )
    assert {name for name, value in example.items() if not value} == wanted
    assert set(re.findall(r"\$\{(\w+)", COMPOSE.read_text())) - set(example) == {"DATABASE_URL"}


def test_what_compose_mounts_and_waits_for_is_there(services: dict[str, Any]) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file(), source
        waited = service.get("depends_on", {})
        for name in waited:
            assert name in services
            if isinstance(waited, dict) and waited[name]["condition"] == "service_healthy":
                assert "healthcheck" in services[name], "nothing would ever say that it is healthy"
        assert service["restart"] == "unless-stopped"


def test_every_node_is_behind_the_proxy_and_scraped() -> None:
    servers = re.findall(r"^\s*server (\S+) (\S+):8080$", (ROOT / "deploy" / "haproxy.cfg").read_text(), re.MULTILINE)
    assert {name for name, _ in servers} == {host for _, host in servers} == NODES
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert set(scraped["dns_sd_configs"][0]["names"]) == NODES


def test_nothing_is_killed_while_it_drains(services: dict[str, Any], deployment: dict[str, Any]) -> None:
    """The supervisors' patience is longer than the drain may take."""
    drain_s = Settings().drain_timeout_s
    for name in NODES:
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > drain_s
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    pause_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > drain_s + pause_s
    assert deployment["minReadySeconds"] > Settings().lease_ttl_s


def test_readiness_takes_a_node_out_and_only_liveness_restarts_it(deployment: dict[str, Any]) -> None:
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    # Kubernetes would name a Service's port SLOTCAST_PORT, which is a setting.
    assert deployment["template"]["spec"]["enableServiceLinks"] is False


def test_alerts_ask_for_metrics_that_exist() -> None:
    """One that was renamed would keep silent for ever."""
    code = "".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
    known = set(re.findall(r'"(slotcast_\w+)"', code))
    known |= {name.removesuffix("_total") for name in known}
    groups = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    asked = {name for rule in rules for name in re.findall(r"\bslotcast_\w+", rule["expr"])}
    assert len(asked) > 8
    for name in asked:
        base = next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)
        assert base in known, name
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket") for rule in rules)


@pytest.mark.parity("E10")
def test_every_push_runs_what_anybody_can_run() -> None:
    """On each Python that the project says it works with; the script skips nothing."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    # YAML reads the key `on` as true.
    assert {"push", "pull_request"} <= set(workflow[True])
    job = workflow["jobs"]["test"]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = {c.rsplit(" ", 1)[1] for c in classifiers if c.startswith("Programming Language :: Python :: 3.")}
    assert set(job["strategy"]["matrix"]["python"]) == supported
    assert {"run": ".ci/run"} in job["steps"]
    script = (ROOT / ".ci/run").read_text()
    assert "SLOTCAST_TEST_NO_SKIP=1" in script
    assert "make test" in script
