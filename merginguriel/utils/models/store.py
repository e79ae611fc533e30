"""Where the models are: a folder for each language, found by name."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import Task
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.storage import naming


@dataclass(frozen=True)
class ModelStore:
    """Where the models of one base model and task are, by language: `root`/{base}_{task}_k_{language}.

    `given`: models from elsewhere, by language, which are then the only ones.
    """

    base_model: str
    task: Task
    root: Path = naming.MODELS_ROOT
    given: tuple[tuple[str, Path], ...] = ()

    def folder(self, locale: str) -> Path:
        return self.root / naming.model_name(self.base_model, self.task.name, locale)

    def initial(self, seed: int) -> Path:
        """Where the initial checkpoint is or would be; models/initial.py makes it."""
        return self.root / naming.initial_name(self.base_model, seed, self.task.word)

    def find(self) -> dict[str, Path]:
        """Language -> folder, sorted by language; those that the task declares, where it declares any."""
        if self.given:
            return dict(sorted(self.given))
        found, declared = naming.find_models(self.root, self.base_model, self.task.name), dict(self.task.languages)
        return {code: folder for code, folder in found.items() if code in declared or not declared}

    def available(self, targets: Collection[str] = ()) -> dict[str, Path]:
        """The same; InputError naming the training command of a source where there is none.

        `targets`: whom sources are wanted for, so that no target's own model is advised while there is another.
        """
        models = self.find()
        if not models:
            codes = self.task.default_codes or ("LANGUAGE",)
            example = next((code for code in codes if code not in targets), codes[0])
            raise InputError(
                f"no models {self.folder('<language>').name} in {self.root}; train one with python "
                f"merginguriel/training_bert.py --model-name-or-path {self.base_model} --dataset-config-name {example} "
                f"{shlex.join([*task_tokens(self.task), '--output-dir', str(self.folder(example)), '--do-train'])}"
            )
        return models

    def choose(self, languages: Sequence[str] | None = None) -> dict[str, Path]:
        """Language -> folder of those that are asked for, by default of all; InputError where one has no model."""
        available = self.available()
        missing = [language for language in languages or () if language not in available]
        if missing:
            raise InputError(
                f"no model {self.folder(missing[0]).name} in {self.root} for {', '.join(missing)}; "
                f"there are {', '.join(available)}; train it with training_bert.py or leave it out"
            )
        return {language: available[language] for language in languages or available}
