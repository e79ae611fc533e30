"""Makes the packages of a checkout that is not installed importable: scripts that are run by path import this first."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "submodules/auto_merge_llm")]
