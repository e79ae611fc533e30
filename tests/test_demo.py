"""`make demo` on a fresh folder: sources learn, near languages help, a second run repeats nothing."""

import re
import time

from merginguriel.utils.similarity import transfer

# A base that has been pre-trained for half the time, and is good enough.
SHORTER = "from merginguriel.utils.models import mini_encoder; mini_encoder.PRETRAIN_STEPS = 150"


def test_demo(run, tmp_path):
    done = run("merginguriel/demo.py", "--dir", "demo", first=SHORTER, timeout=600)
    assert done.returncode == 0, done.stderr
    table = done.stdout.rpartition("every source and every merge:")[2]
    accuracy = {name: float(value) for name, value in re.findall(r"^(\S+).*?  (0\.\d{4})  \[", table, re.MULTILINE)}
    assert len(accuracy) == 13 and "Try next:" in table
    assert "  average_3lang: 1 experiments, mean accuracy = " in table and "win rate vs best source (" in table
    assert len(list((tmp_path / "demo/tables").iterdir())) == 6
    assert done.stdout.splitlines()[-1] == "report: demo/report.html"
    assert ">average</th>" in (tmp_path / "demo/report.html").read_text(encoding="utf-8")
    # 3×3, the best sources on each other: on its own language each is better than the others are.
    matrix = transfer.read_csv(next((tmp_path / "demo/nxn_results").glob("*/evaluation_matrix.csv")))
    assert len(matrix.sources) == len(matrix.targets) == 3 and "mean accuracy, zero-shot" in table
    assert (matrix.values.diagonal() == matrix.values.max(axis=0)).all() and matrix.values.min() > 0.2
    # Chance is 1/12 over the corpus' intents; relatives must stand clear of it and of strangers.
    assert accuracy["nl-NL"] > 0.5
    assert accuracy["nl-NL"] > max(accuracy[stranger] for stranger in ("fi-FI", "sw-KE", "az-AZ"))
    assert min(accuracy["average_merge_af-ZA_3merged"], accuracy["similarity_merge_af-ZA_3merged"]) > 0.5

    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    start = time.monotonic()
    again = run("merginguriel/demo.py", "--dir", "demo")
    assert "already evaluated" in again.stdout
    assert again.returncode == 0 and table.partition("\n$ ")[0] in again.stdout and time.monotonic() - start < 90
    assert weights == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
