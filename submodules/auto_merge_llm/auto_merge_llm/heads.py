"""Classification heads, aligned by the names of their labels."""

from collections import Counter
from collections.abc import Mapping, Sequence

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.tensors import ReorderedRows, Source, TensorReader

# The last layers of transformers' heads, of which one in another than its last place is none.
_LAST_LAYERS = ("classifier.out_proj", "classifier", "score")
_OTHER_TASKS = ("regression", "multi_label_classification")


def check_is_classifier(checkpoint: Checkpoint) -> None:
    """Raise InputError for a model of another task than one label a text, as far as its config.json says."""
    named = checkpoint.config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    problem = checkpoint.config.get("problem_type")
    if architecture and not architecture.endswith("ForSequenceClassification"):
        raise InputError(f"{checkpoint.name} is a {architecture}, not a model for sequence classification; train one")
    if problem in _OTHER_TASKS:
        raise InputError(f"{checkpoint.name} was trained for {problem}, not for one label a text; train another model")


def head_of(source: Source) -> Mapping[str, TensorReader]:
    """The tensors that are not the encoder's: those outside the module that has most of all."""
    modules = Counter(name.partition(".")[0] for name in source.tensors)
    encoder = modules.most_common(1)[0][0] if modules else ""
    return {name: tensor for name, tensor in source.tensors.items() if name.partition(".")[0] != encoder}


def label_layer(source: Source, labels: Sequence[str]) -> str:
    """The name of the linear layer that has a row a label.

    Raises InputError where there is none, or its number of rows is another.
    """
    matrices = {
        name.removesuffix(".weight"): tensor.shape[0]
        for name, tensor in head_of(source).items()
        if name.endswith(".weight") and len(tensor.shape) == 2
    }
    fitting = [layer for layer, rows in matrices.items() if rows == len(labels)]
    known = [layer for layer in _LAST_LAYERS if layer in matrices]
    if known and matrices[known[0]] != len(labels):
        raise InputError(
            f"{source.name}: {known[0]}.weight has {matrices[known[0]]} rows and id2label {len(labels)} names; "
            "correct config.json"
        )
    if known or len(fitting) == 1:
        return (known or fitting)[0]
    raise InputError(
        f"{source.name} has no classifier or score layer, so its labels cannot be aligned; "
        "give models for sequence classification with a linear head"
    )


def align_labels(source: Source, labels: Sequence[str], reference: Sequence[str]) -> Source:
    """`source` with its class rows in the order of `reference`, which has the same names as `labels`.

    Raises InputError where no layer has a row a label.
    """
    layer = label_layer(source, labels)
    if tuple(labels) == tuple(reference):
        return source
    rows = [labels.index(label) for label in reference]
    names = [name for name in (f"{layer}.weight", f"{layer}.bias") if name in source.tensors]
    return Source(
        source.name, {**source.tensors, **{name: ReorderedRows(source.tensors[name], rows) for name in names}}
    )
