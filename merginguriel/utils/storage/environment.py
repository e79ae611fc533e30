"""What a number rests on beside its data: versions, device, commit, time."""

import functools
import platform
from datetime import datetime, timezone
from pathlib import Path


def utc_now() -> str:
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat()


@functools.cache
def run_environment() -> dict:
    """Versions, device and commit that a number rests on; not to be changed."""
    import subprocess
    from importlib import metadata

    import torch

    from merginguriel import __version__

    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except OSError:  # git is not installed
        commit = ""
    return {
        "merginguriel": __version__,
        "git_commit": commit or None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
