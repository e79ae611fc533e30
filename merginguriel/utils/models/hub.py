"""Models of the Hugging Face Hub, from its cache when the Hub is away; never pickles."""

import logging
from pathlib import Path

from auto_merge_llm.adapter_files import ADAPTER_CONFIG
from auto_merge_llm.errors import InputError
from auto_merge_llm.tokenizer_files import TOKENIZER_FILES

from merginguriel.utils.models.library_errors import one_line

log = logging.getLogger(__name__)
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_WANTED = (
    "README.md",
    "config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    *TOKENIZER_FILES,
)


def is_hub_id(name: str) -> bool:
    """Whether the Hub could have a model of this name: owner/name, or a name alone as the oldest have."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not name.isprintable():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def located(source: str | Path) -> Path:
    """The folder of a model: `source` itself where it is one, else the Hub's snapshot of that id.

    InputError where there is neither.
    """
    folder = Path(source)
    if str(source) and folder.is_dir():
        return folder
    if folder.is_file():
        raise InputError(f"{source} is a file and no folder of a model, and no id of the Hub; give its folder")
    if not is_hub_id(str(source)):
        raise InputError(f"no folder {source}, and that is no id of the Hub (owner/name) either; check the path")
    return snapshot(str(source))


def hub_id_of(folder: Path) -> str | None:
    """The id of the model whose snapshot in the Hub's cache `folder` is; None of any other folder."""
    repository = folder.parent.parent.name if folder.parent.name == "snapshots" else ""
    return repository.removeprefix("models--").replace("--", "/", 1) if repository.startswith("models--") else None


def snapshot(repo: str) -> Path:
    """The folder of the model `repo` in the Hub's cache, fetched where the Hub can be reached.

    Raises InputError, saying what to do, where the Hub has no such model, or cannot be reached and the cache has not
    all of it, and for models that are only there as pickles.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        # It takes what its cache has where the Hub is away.
        folder = Path(snapshot_download(repo, allow_patterns=list(_WANTED)))
    except GatedRepoError:
        raise InputError(
            f"{repo} is gated; accept its terms at https://huggingface.co/{repo} and log in with hf auth login"
        ) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"no folder {repo}, and the Hub shows no model of that name; check it, or log in with hf auth login if it "
            "is private"
        ) from None
    except LocalEntryNotFoundError:
        raise InputError(
            f"no folder {repo}, the Hub cannot be reached, and its cache has nothing whole of that name; check the "
            f"path, or fetch it with hf download {repo} where there is a network"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"no folder {repo}, and the Hub does not give a model of that name: {one_line(error)}; check the path, or "
            "try again"
        ) from None
    if not _has_weights(folder):
        raise InputError(
            f"{repo} has no safetensors on the Hub or in its cache, and pickles (pytorch_model.bin) are never loaded; "
            "convert it where you trust it, with from_pretrained and save_pretrained of transformers, and give that "
            "folder"
        )
    return folder


def keep_card(repo: str) -> None:
    """Put the card of the model `repo`, which tells its licence, into the Hub's cache, where there is one to be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        hf_hub_download(repo, "README.md")
    except (HfHubHTTPError, OSError) as error:  # no card, or no network: the model stands without a licence
        log.debug("no card of %s: %s", repo, one_line(error))


def cached(repo: str) -> Path | None:
    """The folder of the model `repo` in the Hub's cache; None where its weights are not there. Nothing is fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not is_hub_id(repo):
        return None
    try:
        folder = Path(snapshot_download(repo, allow_patterns=list(_WANTED), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    from auto_merge_llm.weight_files import find_weights  # which loads torch

    weights = find_weights(folder)
    return (weights is not None and "safetensors" in weights.name) or (folder / ADAPTER_WEIGHTS).is_file()
