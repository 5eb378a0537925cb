"""Packs this provider for `pulumi plugin install resource docker 5.2.0 --file X.tar.gz`.

Run as `python -m airgap.docker_provider.package DESTINATION.tar.gz [PYTHON]`.
"""

import io
import shlex
import sys
import tarfile
from pathlib import Path

EXECUTABLE_NAME = "pulumi-resource-docker"
_PROJECT_ROOT = Path(__file__).resolve().parents[2]


def launcher_script(python: Path, project_root: Path = _PROJECT_ROOT) -> str:
    """The shell script that Pulumi starts: it becomes this provider, run by `python` (an interpreter that has pulumi
    and docker).

    `-P` keeps the folder of the user's program, in which Pulumi starts plugins, off the import path.
    """
    return (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(str(project_root))} "
        f'exec {shlex.quote(str(python))} -P -m airgap.docker_provider "$@"\n'
    )


def write_package(destination: Path, python: Path, project_root: Path = _PROJECT_ROOT) -> Path:
    """Write the plugin's .tar.gz to `destination` and return it.

    Raises FileNotFoundError: there is no such interpreter.
    """
    if not python.exists():
        raise FileNotFoundError(f"python: {python} does not exist: make the virtual environment first")
    script = launcher_script(python, project_root).encode()
    entry = tarfile.TarInfo(EXECUTABLE_NAME)
    entry.size, entry.mode = len(script), 0o755
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(destination, "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(script))
    return destination


def main() -> None:
    """The command line: where to write, and (optionally) which interpreter the plugin runs with."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m airgap.docker_provider.package DESTINATION.tar.gz [PYTHON]")
    # The path is not resolved: a virtual environment's interpreter is a link, and what it links to lacks the packages.
    python = Path(sys.argv[2] if len(sys.argv) == 3 else sys.executable).absolute()
    write_package(Path(sys.argv[1]), python)


if __name__ == "__main__":
    main()
