"""What the folders hold that this toolkit makes, by their purpose: what --overwrite may replace."""

import re
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.tokenizer_files import TOKENIZER_FILES

# What is being written, or what a killed process has left of it: of which machine, by which process.
PARTIAL = re.compile(r"\..+\.partial-(.*)-(\d+)-[^-]+")


@dataclass(frozen=True)
class Made:
    """Folders of one purpose. `marks`: files of which each has one; `files`: what else may be in it."""

    purpose: str
    marks: tuple[str, ...]
    files: tuple[str, ...]

    def objection(self, folder: Path) -> str | None:
        """Why what is at `folder` was not made for this purpose, or not by this toolkit alone; None where it was."""
        if not folder.is_dir():
            return "is no folder"
        inside = sorted(path for path in folder.iterdir() if not PARTIAL.fullmatch(path.name))
        if not any((folder / mark).is_file() for mark in self.marks):
            return f"is nothing that this toolkit made as {self.purpose}: it has no {' or '.join(self.marks)}"
        known = {*self.marks, *self.files}
        others = [path.name for path in inside if path.is_dir() or not (path.name in known or self._is_weights(path))]
        if others:
            return f"holds more than {self.purpose}, {others[0]} for one"
        return None

    def _is_weights(self, path: Path) -> bool:
        return "config.json" in self.files and bool(_WEIGHTS.fullmatch(path.name))


_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?")
_MODEL = ("config.json", "generation_config.json", "chat_template.jinja", "README.md", *TOKENIZER_FILES)
_DETAILS = ("merge_details.json", "merge_details.txt")
_REPORTS = ("all_results.json", "train_results.json", "eval_results.json", "predict_results.json")

RESULT = Made(
    "a result",
    ("results.json",),
    (*_DETAILS, "adaptation.json", "predictions.npz", "logits.npy", "per_intent.csv", "confusion.png"),
)
MERGED = Made("a merged model", _DETAILS, _MODEL)
ADAPTED = Made("an adapted model", ("adaptation.json",), (*_DETAILS, *_MODEL))
TRAINED = Made("a trained model", ("training.json",), (*_MODEL, *_REPORTS, "trainer_state.json", "predict_results.txt"))
ANSWERS = Made("what a model says of texts", ("texts.json",), ("logits.npy",))
