"""Where the project is, and the environment in which its scripts run from a bare checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment() -> dict:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "submodules/auto_merge_llm")])}
