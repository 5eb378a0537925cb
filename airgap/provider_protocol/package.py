"""Packs a stand-in for `pulumi plugin install resource NAME VERSION --file X.tar.gz`.

Run as `python -m airgap.provider_protocol.package NAME DESTINATION.tar.gz [PYTHON]`, NAME being docker or aws.
"""

import io
import shlex
import sys
import tarfile
from pathlib import Path

_PROJECT_ROOT = Path(__file__).resolve().parents[2]


def executable_name(name: str) -> str:
    """The file that Pulumi starts."""
    return f"pulumi-resource-{name}"


def launcher_script(name: str, python: Path, project_root: Path = _PROJECT_ROOT) -> str:
    """The shell script that Pulumi starts: it becomes the stand-in, run by `python` (an interpreter that has pulumi and
    the service's library).

    `-P` keeps the folder of the user's program, in which Pulumi starts plugins, off the import path.
    """
    return (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(str(project_root))} "
        f'exec {shlex.quote(str(python))} -P -m airgap.{name}_provider "$@"\n'
    )


def write_package(name: str, destination: Path, python: Path, project_root: Path = _PROJECT_ROOT) -> Path:
    """Write the plugin's .tar.gz to `destination` and return it.

    Raises FileNotFoundError: there is no such stand-in or no such interpreter.
    """
    if not (project_root / "airgap" / f"{name}_provider").is_dir():
        raise FileNotFoundError(f"name: there is no stand-in for {executable_name(name)}: give docker or aws")
    if not python.exists():
        raise FileNotFoundError(f"python: {python} does not exist: make the virtual environment first")
    script = launcher_script(name, python, project_root).encode()
    entry = tarfile.TarInfo(executable_name(name))
    entry.size, entry.mode = len(script), 0o755
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(destination, "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(script))
    return destination


def main() -> None:
    """The command line: which stand-in, where to write, and (optionally) which interpreter the plugin runs with."""
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m airgap.provider_protocol.package NAME DESTINATION.tar.gz [PYTHON]")
    # The path is not resolved: a virtual environment's interpreter is a link, and what it links to lacks the packages.
    python = Path(sys.argv[3] if len(sys.argv) == 4 else sys.executable).absolute()
    write_package(sys.argv[1], Path(sys.argv[2]), python)


if __name__ == "__main__":
    main()
