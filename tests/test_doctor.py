"""What the doctor says is so, and what every command needs decides its exit code."""

from importlib import metadata

import torch

from merginguriel import doctor


def lines(out: str) -> dict[str, str]:
    return {line[2:21].strip(): line[21:] for line in out.splitlines() if line.startswith(("  ", "! "))}


def test_what_is_here(said_by, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub/models--org--name").mkdir(parents=True)
    code, out, _ = said_by(doctor.main)
    found = lines(out)
    assert code == 0 and all(found[name] == metadata.version(name) for name in doctor.NEEDED)
    assert found["GPU"].startswith("none; ") != torch.cuda.is_available()
    assert found["Hub's cache"] == f"{tmp_path / 'hub'}, 1 models, offline: HF_HUB_OFFLINE is set"


def test_what_is_missing(said_by, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("datasets", "ray") else "1")
    code, out, _ = said_by(doctor.main)
    assert code == 1 and out.endswith("\nneeded and missing: datasets\n")
    assert "\n! datasets " in out and lines(out)["ray"].startswith("not here; only for --backend ray")


def test_quiet_it_names_only_what_is_missing(said_by, monkeypatch):
    assert said_by(doctor.main, "--quiet")[:2] == (0, "")
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("datasets", "ray") else "1")
    code, out, _ = said_by(doctor.main, "--quiet")
    assert code == 1 and out.startswith("! datasets ") and out.count("\n") == 1


def test_a_broken_torch_is_named(said_by, monkeypatch):
    def broken(name):
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    code, out, _ = said_by(doctor.main)
    assert code == 1 and "torch cannot be imported: libcudart.so" in lines(out)["GPU"]
