"""Prometheus' own tool reads the alert rules, and tries each on series of samples."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from components.backups import metrics
from tests.processes.promtool import promtool

RULES = sorted((Path(metrics.__file__).parents[1] / "monitoring").glob("*.rules.yml"))
CASES = Path(__file__).parent / "alerts"


@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_rules(rules: Path) -> None:
    cases = CASES / rules.name.replace(".rules.", ".test.")
    for command in (["check", "rules", str(rules)], ["test", "rules", cases.name]):
        done = subprocess.run([promtool(), *command], cwd=CASES, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = {rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]}
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:", cases.read_text()))
    assert fired == alerts, "each is seen to fire"


def test_rules_are_about_metrics_that_there_are() -> None:
    for rules in RULES:
        for name in set(re.findall(r"redis_backup_[a-z_]+", rules.read_text())):
            assert f"``{name}``" in (metrics.__doc__ or ""), name
