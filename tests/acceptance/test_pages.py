"""The pages that promise to run: their blocks, one after the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.test_readme import blocks

PAGES = [
    "queues",
    "workers",
    "jobs",
    "renaming",
    "transactions",
    "watching",
    "tags",
    "entry-points",
    "executors",
    "hooks",
    "plugins",
    "cron",
    "workflows",
    "metrics",
    "retention",
    "leadership",
    "reprioritize",
    "trigger",
    "observing",
    "retry",
    "migrating-from-chancy",
]


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_in_sequence(empty_dsn: str, tmp_path: Path, page: str):
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(f"docs/{page}.md", "python")))
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        env=os.environ | {"CHANCY_DSN": empty_dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
