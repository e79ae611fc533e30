"""Files of flags, lists of weights, and names that would lead out of their folder."""

import json
import math
import os

import oracles
import strategies
import verdicts
import worlds
from hypothesis import strategies as st

MERGE = [*worlds.STORE, "--target-lang", "af-ZA", "--no-eval", "--output-dir", "out/new"]


def planned(root):
    """A file of flags says what the flags say."""
    base = [*worlds.STORE, "--target-lang", "af-ZA", "--mode", "average", "--dry-run"]
    return verdicts.judge(root, "run_merging_pipeline_refactored", [*base, "--config", "flags.yaml"])


def weighed(root):
    """The weights of the file, which sum to 1, are those of the merge."""
    flags = ["--mode", "linear", *MERGE, "--weights-file", "weights.json"]
    verdict = verdicts.judge(root, "run_merging_pipeline_refactored", flags)
    if not verdict.refused:
        told = json.loads((root / "weights.json").read_text(encoding="utf-8-sig"))
        weights = {language: float(weight) for language, weight in told.items()}
        assert abs(math.fsum(weights.values()) - 1) < 1e-5 and min(weights.values()) >= 0
        oracles.check_average(root, root / "out" / "new", {key: value for key, value in weights.items() if value})
    return verdict


KEYS = (
    "sources",
    "num_languages",
    "mode",
    "target_lang",
    "output_dir",
    "seed",
    "selection",
    "similarity_matrix",
    "dtype",
    "length",
    "models_root",
    "base_model",
    "task",
    "dry_run",
    "config",
    "overwrite",
    "density",
    "Mode",
    "num-languages",
    "source",
    "weights",
    "",
    "dataset_name",
)
FLAGS = st.one_of(
    st.tuples(st.sampled_from(KEYS), strategies.ODD).map(lambda pair: json.dumps(dict([pair])).encode()),
    st.tuples(st.sampled_from(KEYS), st.sampled_from(strategies.YAML)).map(
        lambda pair: f"{pair[0]}: {pair[1]}\n".encode()
    ),
    st.sampled_from(
        [b"sources: [nl-NL, de-DE]\n", b"num_languages: 3\nsimilarity_matrix: matrix.csv\n", b"sources: [no]\n"]
    ),
    st.sampled_from(strategies.GARBAGE),
    st.sampled_from([b"a: &a [*a]\n", b"!!python/name:os.system\n"]),
)
DEEP = (b"[" * 20_000, b"a: " + b"&b [" * 500)  # which take PyYAML seconds: each once
UNSEEN = b'{"num_languages": "a\\u0000b"}'  # what a terminal would obey or not show

SHARES = st.one_of(strategies.ODD, st.sampled_from([0.5, "0.5", 1, 0.25, "1/2", 10**400]))
WEIGHTS = st.one_of(
    st.dictionaries(st.sampled_from([*worlds.LANGUAGES, "nl", "NL-nl", "xx", ""]), SHARES, max_size=4).map(
        lambda weights: json.dumps(weights).encode()
    ),
    st.sampled_from(
        [b'{"nl-NL": 0.5, "nl-NL": 0.5, "de-DE": 0.5}', b'{"nl-NL": 0.6, "de-DE": 0.4}', b'\xef\xbb\xbf{"nl-NL": 1}']
    ),
    st.sampled_from(strategies.GARBAGE),
)


def test_files_of_flags(world, hold):
    first = strategies.Edit("create", "flags.yaml", (b"sources: [nl-NL, de-DE]\n",))
    written = FLAGS.map(lambda content: strategies.Edit("create", "flags.yaml", (content,)))
    known = [[strategies.Edit("create", "flags.yaml", (content,))] for content in (*DEEP, UNSEEN)]
    hold(world, 30, written, planned, known, start=[first])


def test_lists_of_weights(world, hold):
    first = strategies.Edit("create", "weights.json", (b'{"nl-NL": 0.6, "de-DE": 0.4}',))
    written = WEIGHTS.map(lambda content: strategies.Edit("create", "weights.json", (content,)))
    known = [[strategies.Edit("create", "weights.json", (b'{"de-DE": 1, "nl-NL": 1%s}' % (b"0" * 400),))]]
    hold(world, 40, written, weighed, known, start=[first])


NAMES = st.one_of(
    st.sampled_from([*strategies.TEXTS, "..", ".", "-x", "a" * 256, "CON", "a b", "$(id)", "`id`", "{target}", "*"]),
    st.text(max_size=12),
).filter(lambda name: not {"\x00", "\ud800"} & set(name))  # no argument of a command can have these


def test_names(world, hold):
    """A name becomes no path: whatever is new is in the folder of the results."""

    def check(root):
        (file,) = root.glob("name.txt")
        name = file.read_text(encoding="utf-8")
        flags = ["--task", "task.yaml", "--base-model", worlds.model("nl-NL"), "--locale", "af-ZA"]
        verdict = verdicts.judge(root, "evaluate_specific_model", [*flags, "--results-dir", "out", f"--prefix={name}"])
        if not verdict.refused:
            folders = {made.split(os.sep)[1] for made in verdict.new if os.sep in made}
            assert all(made.split(os.sep)[0] == "out" for made in verdict.new) and len(folders) == 1
        return verdict

    written = NAMES.map(lambda name: strategies.Edit("create", "name.txt", (name.encode(),)))
    known = [[strategies.Edit("create", "name.txt", (("é" * 300).encode(),))]]
    hold(world, 40, written, check, known, start=[strategies.Edit("create", "name.txt", (b"plain",))])
