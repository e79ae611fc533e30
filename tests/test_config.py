"""Flags from files: what stands in one means what the command line would say."""

import pytest
from auto_merge_llm.errors import InputError

from merginguriel import (
    run_large_scale_ensemble_experiments,
    run_large_scale_experiment,
    run_merging_pipeline_refactored,
    run_nxn_evaluation,
    uriel_ensemble_inference,
)
from merginguriel.utils.flags import config, merge_command
from merginguriel.utils.flags.yaml_texts import read_yaml

MERGE = "merginguriel/run_merging_pipeline_refactored.py"
BUILDERS = {
    "merge": lambda: merge_command.build_parser("merge", ""),
    "vote": uriel_ensemble_inference.build_parser,
    "votes": run_large_scale_ensemble_experiments.build_parser,
    "nxn": run_nxn_evaluation.build_parser,
    "sweep": run_large_scale_experiment.build_parser,
}


@pytest.fixture
def parse(tmp_path):
    """parse(command, text, *flags) -> the arguments that a file with this text gives, with flags after it."""

    def call(command, text, *flags):
        file = tmp_path / "flags.yaml"
        file.write_text(text)
        return config.parse_with_config(BUILDERS[command](), ["--config", str(file), *flags])

    return call


@pytest.mark.parametrize("text", ["[no, sv]", "\n- no\n- sv"])
def test_norwegian_is_a_language(parse, text):
    assert parse("nxn", f"locales: {text}").locales == ["no", "sv"]
    assert parse("sweep", f"locales: {text}").targets == ["no", "sv"]
    assert parse("vote", "target_lang: no").target_lang == "no"
    assert parse("merge", f"target_lang: yo\nsources: {text}").sources == ("no", "sv")
    assert parse("nxn", "sources: {no: on, y: off}").given == [("no", "on"), ("y", "off")]


def test_only_true_false_and_null_are_no_texts(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text('[true, False, "true", no, YES, on, off, y, ~, null, 1:30, 010, 1e-3, 1.50, 2024-01-01]')
    texts = ["true", "no", "YES", "on", "off", "y", None, None, "1:30", "010", "1e-3", "1.50", "2024-01-01"]
    assert read_yaml(file) == [True, False, *texts]
    file.write_text('{"a": true, "b": ["no", 3]}')
    assert read_yaml(file) == {"a": True, "b": ["no", "3"]}


@pytest.mark.parametrize("command", BUILDERS)
def test_sources_that_map_languages_to_models_are_given(parse, command):
    text = "target_lang: sw\n" if command == "vote" else ""
    found = parse(command, f"{text}sources:\n  quy_Latn: models/q\n  no: owner/norwegian\n", "--source", "fi=x")
    assert found.given == [("quy_Latn", "models/q"), ("no", "owner/norwegian"), ("fi", "x")]
    assert "given" in found.explicit
    again = parse(command, f"{text}source: [quy_Latn=models/q, no=owner/norwegian]")
    assert again.given == found.given[:2]


def test_lists_weights_and_the_command_line_on_top(parse):
    text = "weights: {nl-NL: 0.6, no: 0.4}\nseed: 3\nno_eval: true\noverwrite: false\n"
    found = parse("merge", text, "--seed", "5")
    assert found.weights == {"nl-NL": 0.6, "no": 0.4} and found.seed == 5 and found.no_eval and not found.overwrite
    assert parse("sweep", "num_languages: [3, 5]\nmodes: [average, ties]").num_languages == [3, 5]


@pytest.mark.parametrize(
    "text, message",
    [
        ("num_language: 3", "no flag --num-language; did you mean --num-languages"),
        ("no_eval: yes", "no_eval is 'yes'; a switch"),
        ("seed: true", "seed is True; a switch"),
        ("seed: ~", "seed is None, not a value"),
        ("seed: {a: 1}", "not a value"),
        ("config: x", "no flag --config"),
        ("- a", "does not map flags"),
        ("a: [", "is no YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(parse, text, message):
    with pytest.raises(InputError, match=message):
        parse("merge", text)


def test_a_merge_by_a_file(run, refused, models_root, tmp_path):
    file = tmp_path / "merge.yaml"
    given = "".join(f"  {code}: {models_root}/tiny_massive_k_{code}\n" for code in ("nl-NL", "de-DE"))
    file.write_text(f"mode: average\ntarget_lang: af-ZA\ntask: mini\nsources:\n{given}")
    shown = run(MERGE, "--config", file, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    flags = ["--mode", "average", "--target-lang", "af-ZA", "--task", "mini", "--dry-run"]
    flags += [token for line in given.split("\n")[:-1] for token in ("--source", line.strip().replace(": ", "="))]
    assert shown.stdout == run(MERGE, *flags).stdout and "0.500000  de-DE" in shown.stdout
    file.write_text("mode: averag\n")
    assert "invalid choice" in refused(MERGE, "--config", file)
    assert run_merging_pipeline_refactored.main(["--config", str(tmp_path / "none.yaml")]) == 2
