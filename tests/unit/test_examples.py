"""The connection example is a whole program."""

from __future__ import annotations

import ast
import builtins
import sys

import pytest

from components.config_files import Listener
from components.examples import cluster_python_example, python_example
from components.key_patterns import key_within

SENTINELS = [Listener("127.0.0.1", 26379 + i) for i in range(3)]
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
EXAMPLE = python_example(SENTINELS, "cache-local", CERTIFICATE, "the-password")
NODES = [Listener("127.0.0.1", port) for port in (7000, 7001, 7010, 7011, 7020, 7021)]
CLUSTER_EXAMPLE = cluster_python_example(NODES, CERTIFICATE, "the-password")
both = pytest.mark.parametrize("example", [EXAMPLE, CLUSTER_EXAMPLE], ids=["replicated", "cluster"])


@both
def test_the_example_has_no_undefined_name(example: str) -> None:
    tree = ast.parse(example)
    defined = set(dir(builtins)) | {"__name__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    assert used <= defined


@both
def test_the_example_needs_redis_py_only(example: str) -> None:
    modules = set()
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").partition(".")[0])

    assert modules - sys.stdlib_module_names == {"redis"}


def test_the_example_connects_nowhere_before_its_client_is_used() -> None:
    variables: dict[str, object] = {"__name__": "pasted"}
    exec(compile(EXAMPLE, "example", "exec"), variables)  # noqa: S102 - it is what a user does with it

    client = variables["client"]
    assert type(client).__name__ == "Redis"
    assert variables["CA_CERTIFICATE"] == CERTIFICATE


def test_the_example_asks_every_sentinel_for_the_master_name_as_app() -> None:
    for sentinel in SENTINELS:
        assert f'("127.0.0.1", {sentinel.port})' in EXAMPLE
    assert '"cache-local"' in EXAMPLE
    assert '"username": "app"' in EXAMPLE
    assert EXAMPLE.count("the-password") == 1


def test_the_example_of_a_cluster_starts_from_any_node_as_app() -> None:
    for node in NODES:
        assert f'ClusterNode("127.0.0.1", {node.port})' in CLUSTER_EXAMPLE
    assert 'username="app"' in CLUSTER_EXAMPLE
    assert CLUSTER_EXAMPLE.count("the-password") == 1
    assert "client.set('app:hello'" in cluster_python_example(NODES, CERTIFICATE, "p", "app:*")


def test_a_single_sentinel_is_still_a_list() -> None:
    variables: dict[str, object] = {"__name__": "pasted"}
    exec(compile(python_example(SENTINELS[:1], "m", CERTIFICATE, "p"), "example", "exec"), variables)  # noqa: S102

    assert "sentinel" in variables


def test_the_example_touches_a_key_that_app_may_touch() -> None:
    assert '"world"' in python_example(SENTINELS, "m", CERTIFICATE, "p", "app:*")
    assert "client.set('app:hello'" in python_example(SENTINELS, "m", CERTIFICATE, "p", "app:*")


def test_the_example_goes_where_ports_are_published() -> None:
    assert 'force_master_ip="127.0.0.1",' in python_example(SENTINELS, "m", CERTIFICATE, "p", published_on="127.0.0.1")
    elsewhere = cluster_python_example(NODES, CERTIFICATE, "p", published_on="127.0.0.1")
    assert 'address_remap=lambda announced: ("127.0.0.1", announced[1]),' in elsewhere
    ast.parse(elsewhere)


def test_the_example_uses_announced_names_where_they_are_known() -> None:
    assert "force_master_ip" not in EXAMPLE
    assert "address_remap=" not in CLUSTER_EXAMPLE


@pytest.mark.parametrize(
    ("pattern", "key"), [("*", "name"), ("app:*", "app:name"), ("a?:[xy]:*", "ax:x:name"), ("fixed", "fixed")]
)
def test_a_key_within_a_pattern(pattern: str, key: str) -> None:
    assert key_within(pattern, "name") == key
