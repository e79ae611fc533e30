"""The JSON files of a model folder."""

import json
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises InputError where the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"no {path.name} in {path.parent}; the folder is no complete model, copy or train it again"
        ) from None
    except (ValueError, RecursionError):
        content = None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; copy it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not valid JSON; it is damaged or only partly written, copy it again")
    return content
