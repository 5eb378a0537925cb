"""Clears what an interrupted run made on the engine and could not note in its state, so that the next can finish."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pulumi

IDENTITY_LABEL = "redis-production.identity"
"""Label that holds the stack's own random identity: what carries it was made from this very state."""


async def remove_leftover_container(args: pulumi.ResourceHookArgs) -> None:
    """Hook before a container is created: remove one of the same name that this stack made, after a graceful stop.

    Redis waits for its replicas when it is stopped as a primary (redis.conf ``shutdown-timeout``). Raises
    RuntimeError, which fails the ``up``, when the name is taken by something else.
    """
    inputs = args.new_inputs or {}
    await asyncio.to_thread(
        _remove_container, inputs["name"], _identity(inputs), int(inputs.get("destroyGraceSeconds") or 0)
    )


async def remove_leftover_network(args: pulumi.ResourceHookArgs) -> None:
    """Hook before a network is created: remove an empty one of the same name that this stack made."""
    inputs = args.new_inputs or {}
    await asyncio.to_thread(_remove_network, inputs["name"], _identity(inputs))


def _remove_container(name: str, identity: str | None, grace_seconds: int) -> None:
    import docker
    import docker.errors

    with contextlib.closing(docker.from_env()) as engine:
        try:
            container = engine.containers.get(name)
        except docker.errors.NotFound:
            return
        if identity is None or container.labels.get(IDENTITY_LABEL) != identity:
            raise RuntimeError(_taken("container", name))
        container.stop(timeout=grace_seconds)
        container.remove(force=True, v=True)


def _remove_network(name: str, identity: str | None) -> None:
    import docker

    with contextlib.closing(docker.from_env()) as engine:
        for network in engine.networks.list(names=[f"^{name}$"]):
            network.reload()
            mine = identity is not None and network.attrs["Labels"].get(IDENTITY_LABEL) == identity
            if not mine or network.attrs["Containers"]:
                raise RuntimeError(_taken("network", name))
            network.remove()


def _taken(kind: str, name: str) -> str:
    return (
        f"a {kind} {name} exists already, and this stack's state does not know it: "
        f"restore the state that made it, or remove it (docker {kind} rm {name}), or change the setting name"
    )


def _identity(inputs: Any) -> str | None:
    labels = {label["label"]: label["value"] for label in inputs.get("labels") or []}
    value = labels.get(IDENTITY_LABEL)
    return value if isinstance(value, str) else None
