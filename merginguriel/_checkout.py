"""Scripts that are run by path import this first: they use their own checkout, whether or not another is installed."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# After the script's own folder.
sys.path[1:1] = [str(ROOT), str(ROOT / "submodules/auto_merge_llm")]
