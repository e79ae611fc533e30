"""Where the models are: a folder for each language, found by name."""

import shlex
from collections.abc import Sequence
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

    def available(self, advised: Sequence[str] = ()) -> dict[str, Path]:
        """The same; InputError where there is none, with the command that trains `advised`, by default all."""
        models = self.find()
        if not models:
            which = list(advised) or ([] if self.task.default_codes else ["LANGUAGE"])
            flags = ["--base-model", self.base_model, *task_tokens(self.task), "--models-root", str(self.root)]
            raise InputError(
                f"no models {self.folder('<language>').name} in {self.root}; {self._of_other_bases()}train "
                f"{', '.join(advised) or 'some'} with python merginguriel/train_missing_models.py "
                f"{shlex.join([*flags, *(['--locales', *which] if which else [])])}"
            )
        return models

    def _of_other_bases(self) -> str:
        """Advice to take another base model, where models of this task and another base are there."""
        names = [path.name for path in self.root.iterdir()] if self.root.is_dir() else []
        parsed = [found for name in names if (found := naming.parse_model(name)) and found[1] == self.task.name]
        bases = sorted({base for base, _, _ in parsed})
        return f"give --base-model {' or '.join(bases)}, of which there are models, or " if bases else ""

    def choose(self, languages: Sequence[str] | None = None) -> dict[str, Path]:
        """Language -> folder of those that are asked for, by default of all; InputError where one has no model."""
        available = self.available(languages or ())
        missing = [language for language in languages or () if language not in available]
        if missing:
            raise InputError(
                f"no model {self.folder(missing[0]).name} in {self.root} for {', '.join(missing)}; "
                f"there are {', '.join(available)}; train it with training_bert.py or leave it out"
            )
        return {language: available[language] for language in languages or available}
