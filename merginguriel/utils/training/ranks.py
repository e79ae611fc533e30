"""The processes of one training on several GPUs, as torchrun starts them: all of them train, the first one writes."""

import os


def count() -> int:
    """How many there are; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1


def is_first() -> bool:
    return count() == 1 or os.environ["RANK"] == "0"
