"""docs/extending.md: its method, added by its two steps to a copy of the library, is a mode that merges."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
from running import ROOT
from safetensors.numpy import load_file

BLOCK = re.compile(r"<!-- (methods/\S+) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_documented_method_is_one_file_and_one_line(models_root, tmp_path):
    library = tmp_path / "library"
    shutil.copytree(ROOT / "submodules/auto_merge_llm/auto_merge_llm", library / "auto_merge_llm")
    (file, code), (registry, line) = BLOCK.findall((ROOT / "docs/extending.md").read_text(encoding="utf-8"))
    assert line.count("\n") == 1 and file == "methods/soft_threshold.py"
    (library / "auto_merge_llm" / file).write_text(code, encoding="utf-8")
    listed = library / "auto_merge_llm" / registry
    text = listed.read_text(encoding="utf-8").replace("METHODS = {\n", "METHODS = {\n" + line)
    listed.write_text(text, encoding="utf-8")

    done = subprocess.run(
        [
            sys.executable,
            "-m",  # by path it would take the library of its own checkout
            "merginguriel.run_merging_pipeline_refactored",
            "--mode",
            "soft_threshold",
            "--density",
            "0.02",
            "--target-lang",
            "af-ZA",
            "--sources",
            "nl-NL,de-DE",
            "--base-model",
            "tiny",
            "--models-root",
            models_root,
            "--dataset-name",
            "mini",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{library}{os.pathsep}{ROOT}"},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "soft_threshold_merge_af-ZA_2merged" in done.stdout
    (folder,) = tmp_path.glob("merged_models/soft_threshold_merge_af-ZA_2merged*")
    merged = load_file(folder / "model.safetensors")
    base, *sources = [
        load_file(models_root / name / "model.safetensors")
        for name in ("init/tiny_seed42", "tiny_massive_k_nl-NL", "tiny_massive_k_de-DE")
    ]
    for name, values in merged.items():
        moved = [source[name] - base[name] for source in sources]
        expected = base[name] + sum(np.sign(one) * np.maximum(abs(one) - 0.02, 0) for one in moved) / 2
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
