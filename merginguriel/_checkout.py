"""Makes the packages of a checkout that is not installed importable: scripts that are run by path import this first.

Before what is installed, which may be another version: a script by path and its package are of one checkout.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT), str(ROOT / "submodules/auto_merge_llm")]
