"""README.md has every setting."""

from __future__ import annotations

import re
from pathlib import Path

from components.settings import RedisClusterSettings, ReplicatedRedisSettings, setting_names

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_every_setting_is_in_a_table() -> None:
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", README, re.MULTILINE))

    assert (setting_names(ReplicatedRedisSettings) | setting_names(RedisClusterSettings)) - documented == set()
