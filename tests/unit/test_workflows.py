"""What runs on GitHub gives nothing away, deploys nothing unasked, and finds the stacks that a change reaches."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").iterdir())
PULUMI: dict[Any, Any] = yaml.safe_load((PROJECT / ".github/workflows/pulumi.yml").read_text())
JOBS: dict[str, dict[str, Any]] = PULUMI["jobs"]
NO_FORK = "github.event.pull_request.head.repo.full_name == github.repository"
AWS = ["aws-dev", "aws-prod"]


def with_credentials() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in JOBS.items():
        if "id-token" in job["permissions"]:
            yield name, job


def step(job: str, found: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        each for each in JOBS[job]["steps"] if found in (each.get("id", ""), each.get("uses", "").partition("@")[0])
    ]
    assert len(steps) == 1
    return steps[0]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_no_workflow_has_a_long_lived_key_or_runs_a_forks_code_with_rights(file: Path) -> None:
    text = file.read_text()
    workflow = yaml.safe_load(text)

    assert not re.search(r"AWS_SECRET_ACCESS_KEY|aws-secret-access-key|PULUMI_ACCESS_TOKEN|PASSPHRASE|secrets\.", text)
    # YAML reads the key `on` as true.
    assert set(workflow[True]) <= {"pull_request", "push"}
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]["contents"] == "read"
        assert job["permissions"].keys() <= {"contents", "id-token", "pull-requests"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_action_is_one_commit_and_no_script_is_put_together_from_names(file: Path) -> None:
    for line in re.findall(r"uses:\s*(.*)", file.read_text()):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
    for job in yaml.safe_load(file.read_text())["jobs"].values():
        assert not [each for each in job["steps"] if "${{" in each.get("run", "")]


def test_a_forks_pull_request_gets_no_credentials() -> None:
    assert {name for name, _ in with_credentials()} == {"preview", "up"}
    assert NO_FORK in JOBS["changes"]["if"]
    assert f"github.event_name == 'pull_request' && {NO_FORK} &&" in JOBS["preview"]["if"]
    assert "||" not in JOBS["preview"]["if"] + JOBS["up"]["if"]


def test_only_what_is_merged_is_deployed_behind_the_stacks_environment_one_at_a_time() -> None:
    up = JOBS["up"]
    assert PULUMI[True]["push"] == {"branches": ["main"]}
    assert up["if"].startswith("github.event_name == 'push' && ")
    assert up["environment"] == "${{ matrix.stack }}"
    assert up["concurrency"] == {"group": "up-${{ matrix.stack }}", "cancel-in-progress": False}
    assert up["strategy"]["max-parallel"] == 1
    assert step("up", "pulumi/actions")["with"]["command"] == "up"
    assert step("preview", "pulumi/actions")["with"]["command"] == "preview"
    assert "pull-requests" not in up["permissions"]


def test_a_preview_has_another_role_than_an_up_and_packages_are_installed_before_there_is_one() -> None:
    roles = set()
    for name, job in with_credentials():
        roles.add(step(name, "aws-actions/configure-aws-credentials")["with"]["role-to-assume"])
        order = [str(each.get("uses", each.get("run"))) for each in job["steps"]]
        installed, allowed = (
            next(i for i, text in enumerate(order) if part in text) for part in ("pip install", "configure-aws")
        )
        assert installed < allowed
    assert roles == {"${{ fromJSON(vars.PREVIEW_ROLES)[matrix.stack] }}", "${{ vars.UP_ROLE }}"}


def test_the_comment_has_the_diff_and_no_outputs() -> None:
    options = step("preview", "pulumi/actions")["with"]
    assert (options["comment-on-pr"], options["diff"], options["suppress-outputs"]) == (True, True, True)


def test_the_cli_is_as_old_as_the_sdk() -> None:
    pinned = re.search(r"^pulumi==(.*)$", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    for name, _ in with_credentials():
        assert step(name, "pulumi/actions")["with"]["pulumi-version"] == pinned[1]


def test_the_page_names_every_variable_and_its_policies_are_json() -> None:
    page = (PROJECT / "docs" / "pull-requests.md").read_text()
    workflow = (PROJECT / ".github/workflows/pulumi.yml").read_text()
    assert set(re.findall(r"vars\.(\w+)", workflow)) <= set(re.findall(r"`([A-Z_]+)`", page))

    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert len(policies) == 3
    assert "repo:ORG/REPO:*" not in json.dumps(policies)


class Repository:
    """A clone of a repository with the project's stacks, and the workflow's own scripts run in it."""

    def __init__(self, folder: Path) -> None:
        self._temporary = folder / "runner"
        self._temporary.mkdir()
        self.path = folder / "clone"
        origin = folder / "origin.git"
        self._run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin), folder=folder)
        self._run("git", "clone", "--quiet", str(origin), str(self.path), folder=folder)
        self.git("checkout", "--quiet", "-B", "main")
        for name in ("stacks", ".github"):
            shutil.copytree(PROJECT / name, self.path / name)
        self.first = self.commit("README.md")
        self.git("push", "--quiet", "origin", "main")

    def commit(self, *paths: str) -> str:
        for path in paths:
            file = self.path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as stream:
                stream.write("# changed\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        return self._run("git", *arguments, folder=self.path)

    def output(self, job: str, identity: str, **variables: str) -> dict[str, str]:
        """What the step's script, run as GitHub runs it, says to later steps."""
        outputs = self._temporary / "output"
        outputs.write_text("")
        script = step(job, identity)["run"]
        variables |= {"GITHUB_OUTPUT": str(outputs), "RUNNER_TEMP": str(self._temporary), "GITHUB_REF_NAME": "main"}
        command = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
        self._run(*command, folder=self.path, **variables)
        return dict(line.split("=", 1) for line in outputs.read_text().splitlines())

    def stacks(self, base: str) -> list[str]:
        found: list[str] = json.loads(self.output("changes", "stacks", BASE=base)["stacks"])
        return found

    def _run(self, *command: str, folder: Path, **variables: str) -> str:
        me = {f"GIT_{who}_{what}": "a@b.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        mine = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment = {**mine, **me, "GIT_CONFIG_GLOBAL": os.devnull, **variables}
        done = subprocess.run(command, cwd=folder, env=environment, check=True, text=True, stdout=subprocess.PIPE)
        return done.stdout


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def repository(made_once: Repository) -> Repository:
    made_once.git("checkout", "--quiet", "--force", "-B", "main", made_once.first)
    return made_once


@pytest.mark.parametrize(
    ("paths", "stacks"),
    [
        (["stacks/Pulumi.aws-dev.yaml"], ["aws-dev"]),
        (["stacks/Pulumi.aws-prod.yaml", "docs/aws.md"], ["aws-prod"]),
        (["stacks/Pulumi.aws-prod.yaml", "stacks/Pulumi.aws-dev.yaml"], AWS),
        (["stacks/Pulumi.local.yaml", "stacks/Pulumi.local-cluster.yaml"], []),
        (["components/platforms/aws/network.py"], AWS),
        (["__main__.py"], AWS),
        (["Pulumi.yaml"], AWS),
        (["requirements.txt"], AWS),
        (["requirements-aws.txt"], AWS),
        ([".github/workflows/pulumi.yml"], AWS),
        (["requirements-dev.txt", "README.md", "ops/status.py", "tests/components/x.py", "tests/Pulumi.yaml"], []),
    ],
    ids=" ".join,
)
def test_a_push_reaches_these_stacks(repository: Repository, paths: list[str], stacks: list[str]) -> None:
    repository.commit(*paths)

    assert repository.stacks(repository.first) == stacks


def test_a_removed_stack_is_not_deployed_and_a_renamed_one_is_by_its_new_name(repository: Repository) -> None:
    repository.git("mv", "stacks/Pulumi.aws-dev.yaml", "stacks/Pulumi.eu.yaml")
    renamed = repository.commit()
    assert repository.stacks(repository.first) == ["eu"]

    repository.git("rm", "--quiet", "stacks/Pulumi.eu.yaml")
    repository.commit()
    assert repository.stacks(renamed) == []


@pytest.mark.parametrize("before", ["0" * 40, "1" * 40], ids=["new branch", "forced push"])
def test_a_push_over_something_unknown_reaches_every_stack(repository: Repository, before: str) -> None:
    assert repository.stacks(before) == AWS


def test_a_pull_request_reaches_what_its_own_commits_reach(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "branch")
    repository.commit("docs/aws.md")
    repository.commit("stacks/Pulumi.aws-dev.yaml")
    repository.git("checkout", "--quiet", "main")
    repository.commit("stacks/Pulumi.aws-prod.yaml")
    repository.git("merge", "--quiet", "--no-ff", "--message", "as GitHub checks it out", "branch")

    assert repository.stacks("HEAD^1") == ["aws-dev"]


def test_what_main_has_a_newer_state_of_is_not_deployed(repository: Repository) -> None:
    assert repository.output("up", "newer", STACK="aws-prod") == {}

    repository.commit("stacks/Pulumi.aws-prod.yaml")
    repository.git("push", "--quiet", "origin", "main")
    repository.git("checkout", "--quiet", repository.first)
    assert repository.output("up", "newer", STACK="aws-prod") == {"exists": "true"}
    assert repository.output("up", "newer", STACK="aws-dev") == {}

    after = JOBS["up"]["steps"][-2:]
    assert [each["if"] for each in after] == ["steps.newer.outputs.exists != 'true'"] * 2
