"""A Pulumi CLI built from the Go module proxy, for machines that reach package registries only.

Three parts end up side by side, as in the vendor's release:
- ``pulumi``, from pkg/v3, pinned by ``cli/go.mod`` and ``cli/go.sum``;
- ``pulumi-language-python``: since 3.80 it is a module of its own that the proxy does not serve, so the last sdk/v3
  that still contained it is built (``language_host/``). It speaks the engine's protocol, resource hooks included. It
  does not know the project's ``virtualenv`` option: ``airgap env`` puts the virtual environment first on PATH instead;
- two small scripts from sdk/v3 of the CLI's version: the one that starts a program, and the dynamic providers' plugin.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from airgap.lane import Lane, spell_seconds
from airgap.places import cache
from airgap.problem import Problem

_HERE = Path(__file__).resolve().parent
CLI_MODULE = _HERE / "cli"
LANGUAGE_HOST_MODULE = _HERE / "language_host"

_CLI_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_LANGUAGE_HOST_PACKAGE = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
_SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
_SDK_SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")

# Since Go 1.21 an older go command fetches the toolchain that go.mod asks for from the module proxy.
_OLDEST_GO = (1, 21)
_RECIPE = "1"
"""Raise it when this file builds something else from the same go.mod: it is part of the cache's key."""


def built_cli_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the built CLI lies, or would lie: the name changes with everything that is built."""
    return cache(environment) / f"pulumi-built-{cache_key()}" / "bin"


def cache_key(modules: tuple[Path, ...] = (CLI_MODULE, LANGUAGE_HOST_MODULE)) -> str:
    """A short hash of what is built: every go.mod and go.sum, and the recipe."""
    digest = hashlib.sha256(_RECIPE.encode())
    for module in modules:
        digest.update((module / "go.mod").read_bytes())
        digest.update((module / "go.sum").read_bytes())
    return digest.hexdigest()[:16]


def build(lane: Lane, environment: Mapping[str, str] = os.environ) -> None:
    """Build CLI and language host into the cache; the whole folder appears at once, when it is complete.

    What an interrupted build compiled stays in Go's own caches, so that the next run only does the rest. Raises Problem
    when Go is missing or too old, or when the module proxy cannot be reached.
    """
    target = built_cli_folder(environment)
    _require_go()
    go_environment = {**environment, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": _without_mod_flag(environment)}
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    lane.say("building the Pulumi CLI from the Go module proxy: about five minutes on two cores, once")
    with tempfile.TemporaryDirectory(prefix="pulumi-built.partial-", dir=target.parent.parent) as temporary:
        folder = Path(temporary) / "bin"
        folder.mkdir()
        _go_build(lane, CLI_MODULE, _CLI_PACKAGE, folder / "pulumi", go_environment)
        _go_build(lane, LANGUAGE_HOST_MODULE, _LANGUAGE_HOST_PACKAGE, folder / "pulumi-language-python", go_environment)
        sdk = Path(_module(CLI_MODULE, _SDK_MODULE, go_environment)["Dir"])
        for script in _SDK_SCRIPTS:
            copy = folder / Path(script).name
            shutil.copyfile(sdk / script, copy)
            copy.chmod(0o755)
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        folder.rename(target)
    lane.say(f"Pulumi CLI: built in {spell_seconds(time.monotonic() - started)}, kept in {target}")


def _go_build(lane: Lane, module: Path, package: str, output: Path, environment: Mapping[str, str]) -> None:
    advice = "The Go module proxy must be reachable (go env GOPROXY). Or install the Pulumi CLI: https://www.pulumi.com/docs/install"
    name = output.name
    lane.say(f"{name}: downloading Go modules")
    lane.run(
        ["go", "list", "-mod=readonly", "-deps", package],
        f"downloading Go modules for {name}",
        advice=advice,
        progress=progress_counter("downloaded {count} modules, now {line}", _downloaded_module),
        folder=module,
        environment=environment,
    )
    version = _module(module, _module_of(package), environment)["Version"]
    lane.say(f"{name}: compiling {version}")
    lane.run(
        [
            "go", "build", "-mod=readonly", "-buildvcs=false", "-v",
            # Without its version the CLI cannot check a project's requiredPulumiVersion. -s -w: no debugging tables.
            f"-ldflags=-s -w -X {_SDK_MODULE}/go/common/version.Version={version}",
            "-o", output, package,
        ],
        f"compiling {name}",
        advice=advice,
        progress=progress_counter(f"{name}: compiled {{count}} packages, now {{line}}", lambda line: line),
        folder=module,
        environment=environment,
    )  # fmt: skip


def progress_counter(
    form: str, item_of: Callable[[str], str | None], every_seconds: float = 5.0
) -> Callable[[str], str | None]:
    """A ``progress`` function for Lane.run: counts the lines that hold an item and speaks every few seconds.

    ``form`` gets ``count`` and ``line`` (the item).
    """
    count = 0
    spoke = time.monotonic()

    def progress(line: str) -> str | None:
        nonlocal count, spoke
        item = item_of(line)
        if item is None:
            return None
        count += 1
        if time.monotonic() - spoke < every_seconds:
            return None
        spoke = time.monotonic()
        return form.format(count=count, line=item)

    return progress


def _downloaded_module(line: str) -> str | None:
    return line.removeprefix("go: downloading ") if line.startswith("go: downloading ") else None


def _module_of(package: str) -> str:
    """``github.com/pulumi/pulumi/pkg/v3/cmd/pulumi`` belongs to the module that ends with its major version."""
    end = package.index("/v3") + len("/v3")
    return package[:end]


def _module(module_folder: Path, module: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What Go knows about a required module: its version and the folder in the module cache."""
    answer = subprocess.run(
        ["go", "list", "-mod=readonly", "-m", "-json", module],
        cwd=module_folder, env=dict(environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode != 0:
        raise Problem(f"go list -m {module} failed: {answer.stderr.strip()}")
    described: dict[str, str] = json.loads(answer.stdout)
    return described


def _require_go() -> None:
    install_go = (
        "install Go 1.25 or newer (https://go.dev/doc/install), or a Pulumi CLI (https://www.pulumi.com/docs/install): "
        "neither was found, and without the internet the CLI must be built"
    )
    try:
        answer = subprocess.run(["go", "version"], capture_output=True, text=True, check=False)
    except OSError:
        raise Problem(f"the Pulumi CLI: {install_go}") from None
    found = parse_go_version(answer.stdout)
    if found is None or found < _OLDEST_GO:
        raise Problem(f"the Pulumi CLI: {answer.stdout.strip() or 'go version fails'}; {install_go}")


def parse_go_version(text: str) -> tuple[int, int] | None:
    """``go version go1.26.8 linux/amd64`` as (1, 26); None for anything else."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _without_mod_flag(environment: Mapping[str, str]) -> str:
    """The user's GOFLAGS, except for a -mod that would contradict the pinned build."""
    return " ".join(flag for flag in environment.get("GOFLAGS", "").split() if not flag.startswith("-mod="))
