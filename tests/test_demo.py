"""`make demo` on a fresh folder: sources learn, near languages help, a second run repeats nothing."""

import re
import time


def test_demo(run, tmp_path):
    done = run("merginguriel/demo.py", "--dir", "demo", timeout=600)
    assert done.returncode == 0, done.stderr
    table = done.stdout.rpartition("every source and every merge:")[2]
    accuracy = {name: float(value) for name, value in re.findall(r"^(\S+).*?  (0\.\d{4})  \[", table, re.MULTILINE)}
    assert len(accuracy) == 13 and "Try next:" in table
    # Chance is 1/12 over the corpus' intents; relatives must stand clear of it and of strangers.
    assert accuracy["nl-NL"] > 0.5
    assert accuracy["nl-NL"] > max(accuracy[stranger] for stranger in ("fi-FI", "sw-KE", "az-AZ"))
    assert min(accuracy["average_merge_af-ZA_3merged"], accuracy["similarity_merge_af-ZA_3merged"]) > 0.5

    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    start = time.monotonic()
    again = run("merginguriel/demo.py", "--dir", "demo")
    assert again.returncode == 0 and again.stdout.endswith(table) and time.monotonic() - start < 90
    assert weights == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
