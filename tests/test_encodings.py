"""What commands write can be written to a terminal, pipe or file of any encoding."""

import io
import subprocess
import sys

import pytest
from running import environment

from merginguriel import aggregate_results, cli, evaluate_specific_model
from merginguriel.cli import COMMANDS


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_help(encoding):
    code = (
        f"import importlib, sys\nfor script in {sorted(script for script, _ in COMMANDS.values())}:\n"
        "    try: importlib.import_module(f'merginguriel.{script}').main(['--help'])\n"
        "    except SystemExit as end: assert not end.code, script\n"
        "import merginguriel.cli\nsys.exit(merginguriel.cli.main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(), "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"usage: ") == len(COMMANDS) + 1


@pytest.mark.parametrize("main, flags", [(aggregate_results.main, []), (cli.main, ["nothing·else"])])
def test_reports(results, tmp_path, monkeypatch, main, flags):
    monkeypatch.chdir(tmp_path)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main(flags) == (2 if flags else 0)


def test_signs_that_a_terminal_obeys_are_spelt_out(said_by):
    name = "/\x1b[31mred\u200b\U000dcd01é"
    code, _, error = said_by(evaluate_specific_model.main, "--base-model", "m", "--locale", "af-ZA", f"--prefix={name}")
    assert code == 2 and error.startswith(r"error: --prefix /\x1b[31mred\u200b\U000dcd01é is not a plain name")
