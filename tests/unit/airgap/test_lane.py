from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap import lane as lane_module
from airgap.lane import Lane, run_side_by_side, spell_seconds
from airgap.problem import Problem
from airgap.processes import program_of


@pytest.fixture(autouse=True)
def _nothing_is_stopping() -> Iterator[None]:
    yield
    lane_module._stopping.clear()


def run(command: str, **options: object) -> None:
    Lane("test").run(["/bin/sh", "-c", command], "testing", advice="Do this.", **options)  # type: ignore[arg-type]


def test_failure_names_the_command_its_output_and_what_to_do() -> None:
    with pytest.raises(Problem) as caught:
        run("echo first; echo reason >&2; exit 3")

    text = str(caught.value)
    assert text.startswith("testing failed (exit code 3)")
    assert "    reason" in text
    assert text.endswith("Do this.")


def test_missing_command_is_named() -> None:
    with pytest.raises(Problem, match=r"cannot run /no/such/command .*Do this\."):
        Lane("test").run(["/no/such/command"], "testing", advice="Do this.")


def test_progress_carries_the_lanes_name(capsys: pytest.CaptureFixture[str]) -> None:
    run("echo shown; echo hidden", progress=lambda line: line if line == "shown" else None)

    captured = capsys.readouterr()
    assert captured.err == "[test] shown\n"
    assert captured.out == ""


def test_silence_is_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "SILENCE_SECONDS", 0.2)

    run("sleep 1.2")

    assert "[test] ... still testing (" in capsys.readouterr().err


def test_commands_get_no_input() -> None:
    run("read line && exit 1; exit 0")


def test_a_wait_is_shown_and_ends(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "SILENCE_SECONDS", 0)
    answers = iter([False, False, True])

    Lane("test").wait_until(lambda: next(answers), "waiting for another")

    assert capsys.readouterr().err == "[test] ... still waiting for another (0 s)\n" * 2


def test_a_failure_ends_the_others_waits() -> None:
    def fail(_lane: Lane) -> None:
        raise Problem("no engine")

    with pytest.raises(Problem, match="no engine"):
        run_side_by_side({Lane("a"): fail, Lane("b"): lambda lane: lane.wait_until(lambda: False, "waiting")})


def test_first_failure_stops_the_other_lanes(tmp_path: Path) -> None:
    child = tmp_path / "child"

    def fail(_lane: Lane) -> None:
        while not child.exists() or not child.read_text().endswith("\n"):
            time.sleep(0.01)
        raise Problem("no engine")

    def work(lane: Lane) -> None:
        # The child outlives its parent unless the whole group is ended.
        command = f"sh -c 'echo $$ > \"{child}\"; exec sleep 600'; true"
        lane.run(["/bin/sh", "-c", command], "working", advice="")

    started = time.monotonic()
    with pytest.raises(Problem, match="no engine"):
        run_side_by_side({Lane("a"): fail, Lane("b"): work})

    assert time.monotonic() - started < 30
    pid = int(child.read_text())
    for _ in range(500):
        if not program_of(pid):
            break
        time.sleep(0.01)
    assert not program_of(pid)


def test_uninterruptible_command_is_waited_for(tmp_path: Path) -> None:
    begun, finished = tmp_path / "begun", tmp_path / "finished"

    def fail(_lane: Lane) -> None:
        while not begun.exists():
            time.sleep(0.01)
        raise Problem("no engine")

    def install(lane: Lane) -> None:
        command = f'touch "{begun}"; sleep 0.5; touch "{finished}"'
        lane.run(["/bin/sh", "-c", command], "installing", advice="", interruptible=False)

    with pytest.raises(Problem, match="no engine"):
        run_side_by_side({Lane("a"): fail, Lane("b"): install})

    assert finished.exists()


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (185, "3 min 5 s"), (3600, "60 min 0 s")])
def test_durations_for_people(seconds: float, text: str) -> None:
    assert spell_seconds(seconds) == text
