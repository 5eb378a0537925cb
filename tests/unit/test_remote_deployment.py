"""A record with a runner: what asks nobody, and what is asked of whom."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from components.formation import FormationError, FormationRefused
from components.formation_lifecycle import Impossible, planned
from components.live_deployment import NO_PASSWORDS, live_deployment
from components.remote.errors import NoInstance
from components.remote_deployment import RemoteDeployment
from tests.unit.test_live_cluster import inputs, record

RUNNER = {"kind": "ssm", "deployment": "cache-aws-dev", "region": "eu-west-1"}
RECORD = {**record(), "runner": RUNNER}


class Asked:
    """Stands for the runner: keeps what it is asked, answers as told."""

    def __init__(self) -> None:
        self.requests: list[Mapping[str, Any]] = []
        self.avoided: list[Collection[str]] = []
        self.before: list[str] = []
        self.answer: Any = None
        self.nothing_runs = False

    def run(self, request: Mapping[str, Any], progress: Any, avoid: Collection[str] = ()) -> Any:
        if self.nothing_runs:
            raise NoInstance("nothing runs")
        self.requests.append(request)
        self.avoided.append(avoid)
        return self.answer

    def fetch_files(self, progress: Any) -> None:
        self.before.append("files")

    def wait_until_ready(self, nodes: Collection[str], progress: Any) -> None:
        self.before.append(f"ready {' '.join(nodes)}")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(RemoteDeployment, "_runner", lambda _: made)
    return made


def remote() -> RemoteDeployment:
    found = live_deployment(RECORD, {**NO_PASSWORDS, "admin": "canary"}, "canary")
    assert isinstance(found, RemoteDeployment)
    return found


def quiet(_: str) -> None:
    """Progress of no interest."""


def test_the_first_preview_asks_nobody(asked: Asked) -> None:
    assert planned({}, {"target": RECORD}) == planned({}, {"target": record()})
    assert not asked.requests


def test_a_record_that_cannot_be_is_refused_as_without_a_runner() -> None:
    one_host = record()
    for member in one_host["shards"][0]["members"]:
        member["host"] = "zone-a"
    with pytest.raises(FormationRefused) as here:
        live_deployment(one_host, NO_PASSWORDS, "")
    with pytest.raises(FormationRefused) as there:
        live_deployment({**one_host, "runner": RUNNER}, NO_PASSWORDS, "")

    assert there.value.reasons == here.value.reasons


def test_another_runner_is_a_direct_one() -> None:
    assert not isinstance(live_deployment({**RECORD, "runner": {"kind": "direct"}}, NO_PASSWORDS, ""), RemoteDeployment)


def test_a_later_preview_asks_with_both_records_and_no_secret(asked: Asked) -> None:
    asked.answer = {
        "lines": ["do this"], "refusals": [], "waits": [], "primaries": [], "handed_over": [], "memory_used": {},
    }  # fmt: skip

    assert planned(inputs(RECORD), inputs({**RECORD, "live_settings": {"maxmemory": "2000"}})) == ["do this"]
    (request,) = asked.requests
    assert request["operation"] == "forecast"
    assert request["arguments"] == {"joining": []}
    assert request["earlier"] == RECORD
    assert "password" not in str(request)


def test_a_refusal_fails_the_preview(asked: Asked) -> None:
    asked.answer = {
        "lines": [], "refusals": ["it would"], "waits": [], "primaries": [], "handed_over": [], "memory_used": {},
    }  # fmt: skip

    with pytest.raises(Impossible) as caught:
        planned(inputs(RECORD), inputs(RECORD))
    assert caught.value.problems == ("it would",)


def test_where_nothing_runs_nothing_is_needed(asked: Asked) -> None:
    asked.nothing_runs = True

    assert planned(inputs(RECORD), inputs(RECORD)) == []
    assert not remote().is_needed("cache-redis-0-0")
    remote().disband()
    with pytest.raises(NoInstance):
        remote().make_safe_to_stop("cache-redis-0-0", [], quiet)


def test_files_come_before_formation_and_the_boot_before_a_node_is_back(asked: Asked) -> None:
    asked.answer = {"shards": []}
    assert remote().form({"admin": "reset"}, quiet) == {"shards": []}
    remote().wait_until_back("cache-redis-0-0", quiet)

    assert asked.before == ["files", "ready cache-redis-0-0"]
    assert [request["operation"] for request in asked.requests] == ["form", "wait_until_back"]


def test_a_node_that_is_about_to_stop_is_not_asked(asked: Asked) -> None:
    asked.answer = "cache-redis-0-0"
    live = remote()
    live.is_needed("cache-redis-0-0")
    live.make_safe_to_stop("cache-redis-0-0", ("cache-redis-0-1",), quiet)
    live.still_needed("cache-redis-9-0", "gone", 7090.0)  # type: ignore[arg-type]  # Pulumi's numbers
    assert live.next_to_stop(("cache-redis-0-0", "cache-redis-0-1")) == "cache-redis-0-0"

    assert asked.avoided == [
        ["cache-redis-0-0"], ["cache-redis-0-0"], ["cache-redis-9-0"], ("cache-redis-0-0", "cache-redis-0-1"),
    ]  # fmt: skip


def test_a_node_that_stays_is_not_asked_about(asked: Asked) -> None:
    assert remote().still_needed("cache-redis-0-0", "here", 7000) is None
    assert not asked.requests


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "remote.runner":
            raise ModuleNotFoundError("No module named 'boto3'", name="boto3")
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FormationError, match=r"^boto3 is missing; pip install -r requirements-aws\.txt$"):
        remote().status()
