"""Where the models are: a folder for each language, found by name."""

from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import naming


@dataclass(frozen=True)
class ModelStore:
    """Where the models of one base model are, by locale: `root`/{base}_massive_k_{locale}."""

    base_model: str
    root: Path = naming.MODELS_ROOT

    def folder(self, locale: str) -> Path:
        return self.root / naming.model_name(self.base_model, locale)

    def initial(self, seed: int) -> Path:
        """Where the initial checkpoint is or would be; models/initial.py makes it."""
        return self.root / naming.initial_name(self.base_model, seed)

    def find(self) -> dict[str, Path]:
        """Locale -> folder, sorted by locale."""
        return naming.find_models(self.root, self.base_model)

    def available(self) -> dict[str, Path]:
        """The same; InputError naming the training command where there is none."""
        models = self.find()
        if not models:
            raise InputError(
                f"no models {naming.model_name(self.base_model, '<locale>')} in {self.root}; train one with python "
                f"merginguriel/training_bert.py --model-name-or-path {self.base_model} --dataset-config-name af-ZA "
                f"--output-dir {self.folder('af-ZA')}"
            )
        return models
