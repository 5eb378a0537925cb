from __future__ import annotations

import http.server
import os
import platform
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.lane import Lane
from airgap.pulumi_cli.build import built_cli_folder, cache_key, parse_go_version, progress_counter
from airgap.pulumi_cli.download import VERSION, archive_name, download, released_cli_folder
from airgap.pulumi_cli.find import PulumiCli, find, parse_version, users_own_cli


def write_pulumi(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    executable = folder / "pulumi"
    executable.write_text(f"#!/bin/sh\necho {version}\n")
    executable.chmod(0o755)
    return executable


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PATH": f"{tmp_path / 'path'}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v3.259.0\n", (3, 259, 0)),
        ("3.272.1", (3, 272, 1)),
        ("v3.240.0-alpha.1+dev", (3, 240, 0)),
        ("", None),
        ("pulumi: command not found", None),
        ("v3", None),
    ],
)
def test_version_of_the_cli(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("text", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.19 darwin/arm64", (1, 19)), ("", None)],
)
def test_version_of_go(text: str, version: tuple[int, int] | None) -> None:
    assert parse_go_version(text) == version


def test_users_cli_is_taken_when_new_enough(environment: dict[str, str], tmp_path: Path) -> None:
    write_pulumi(tmp_path / "path", "v3.238.0")
    write_pulumi(built_cli_folder(environment), "v3.259.0")

    assert find(environment) == PulumiCli(tmp_path / "path", is_users_own=True)


@pytest.mark.parametrize("version", ["v3.237.9", "v2.25.0", "unknown"])
def test_users_cli_that_is_too_old_is_passed_over(environment: dict[str, str], tmp_path: Path, version: str) -> None:
    write_pulumi(tmp_path / "path", version)
    assert find(environment) is None

    write_pulumi(built_cli_folder(environment), "v3.259.0")
    assert find(environment) == PulumiCli(built_cli_folder(environment), is_users_own=False)


def test_release_is_preferred_to_the_built_cli(environment: dict[str, str]) -> None:
    write_pulumi(built_cli_folder(environment), "v3.259.0")
    write_pulumi(released_cli_folder(environment), f"v{VERSION}")

    assert find(environment) == PulumiCli(released_cli_folder(environment), is_users_own=False)


def test_cli_brought_earlier_is_not_taken_for_the_users(environment: dict[str, str]) -> None:
    """After `eval "$(make -s env)"` the brought CLI is the first on PATH."""
    write_pulumi(built_cli_folder(environment), "v3.259.0")
    environment["PATH"] = f"{built_cli_folder(environment)}:{environment['PATH']}"

    assert users_own_cli(environment) is None
    assert find(environment) == PulumiCli(built_cli_folder(environment), is_users_own=False)


def test_home_of_users_cli_stays_the_users(environment: dict[str, str], tmp_path: Path) -> None:
    assert PulumiCli(tmp_path, is_users_own=True).home(environment) == Path.home() / ".pulumi"
    assert PulumiCli(tmp_path, is_users_own=True).home({**environment, "PULUMI_HOME": "/elsewhere"}) == Path(
        "/elsewhere"
    )
    brought = PulumiCli(tmp_path, is_users_own=False).home({**environment, "PULUMI_HOME": "/elsewhere"})
    assert brought.is_relative_to(environment["XDG_CACHE_HOME"])


def test_cache_key_follows_everything_that_is_built(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module a\n")
    (tmp_path / "go.sum").write_text("sum\n")
    first = cache_key((tmp_path,))
    assert cache_key((tmp_path,)) == first

    (tmp_path / "go.sum").write_text("other sum\n")
    assert cache_key((tmp_path,)) != first


def test_progress_is_counted_and_throttled() -> None:
    def item(line: str) -> str | None:
        return line if line != "noise" else None

    talkative = progress_counter("{count}: {line}", item, every_seconds=0)
    assert [talkative(line) for line in ("a", "noise", "b")] == ["1: a", None, "2: b"]
    quiet = progress_counter("{count}: {line}", item, every_seconds=3600)
    assert [quiet(line) for line in ("a", "b")] == [None, None]


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", f"pulumi-v{VERSION}-linux-x64.tar.gz"),
        ("linux", "aarch64", f"pulumi-v{VERSION}-linux-arm64.tar.gz"),
        ("darwin", "arm64", f"pulumi-v{VERSION}-darwin-arm64.tar.gz"),
        ("linux", "riscv64", None),
        ("sunos5", "x86_64", None),
    ],
)
def test_archive_for_each_machine(system: str, machine: str, name: str | None) -> None:
    assert archive_name(system, machine) == name


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server that offers one release, packed like the vendor's."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    site = tmp_path / "site"
    site.mkdir()
    write_pulumi(tmp_path / "pulumi", f"v{VERSION}")
    with tarfile.open(site / f"pulumi-v{VERSION}-linux-x64.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "pulumi", "pulumi")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(site))  # type: ignore[arg-type]

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_release_is_downloaded_and_found(environment: dict[str, str], releases: str) -> None:
    assert download(Lane("test"), releases, environment)

    assert find(environment) == PulumiCli(released_cli_folder(environment), is_users_own=False)
    assert os.access(released_cli_folder(environment) / "pulumi", os.X_OK)
    assert sorted(path.name for path in released_cli_folder(environment).parent.parent.iterdir()) == [
        f"pulumi-release-{VERSION}"
    ]


@pytest.mark.parametrize("fault", ["missing", "cut short", "no server"])
def test_failed_download_leaves_nothing(
    environment: dict[str, str], releases: str, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "site" / f"pulumi-v{VERSION}-linux-x64.tar.gz"
    if fault == "missing":
        archive.unlink()
    elif fault == "cut short":
        archive.write_bytes(archive.read_bytes()[:60])
    else:
        releases = "http://127.0.0.1:1"

    assert not download(Lane("test"), releases, environment)

    assert "cannot be downloaded" in capsys.readouterr().err
    assert find(environment) is None
    assert list((tmp_path / "cache" / "redis-production").iterdir()) == []
