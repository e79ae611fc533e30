"""Batches on a Ray cluster of two nodes on this machine; in a sweep one of them is killed."""

import time
from pathlib import Path

import pytest
from test_sweep import assert_same_results, results_of

pytest.importorskip("ray")
SCRIPT = "merginguriel/run_large_scale_experiment.py"
COMMAND = (
    "--locales",
    "af-ZA",
    "nl-NL",
    "--modes",
    "average",
    "adamerging",
    "regmean",
    "stock",
    "--num-languages",
    "2",
    "3",
    "--selection",
    "cosine",
    "--num-fisher-examples",
    "60",
    # So that a node is still at work when it is killed.
    "--epochs",
    "15",
)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where Ray keeps its token
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield started
    started.shutdown()


def flags_of(models_root):
    return ["--base-model", "tiny", "--models-root", str(models_root), "--dataset-name", "mini", *COMMAND]


@pytest.fixture
def sweep(begin, models_root):
    """sweep(folder, *flags) -> Started"""

    def call(folder, *more):
        folder.mkdir(exist_ok=True)
        return begin(SCRIPT, *flags_of(models_root), *more, folder=folder)

    return call


def wait_for(process, folder, wanted):
    """Until the merges that have results satisfy `wanted`, or the command has ended."""
    while process.poll() is None and not wanted([name for name in results_of(folder) if "_merge_" in name]):
        time.sleep(0.05)


def test_command_and_node_are_killed_and_it_ends_as_without(cluster, sweep, tmp_path):
    alone = sweep(tmp_path / "local", "--workers", "1").end()
    assert alone.returncode == 0, alone.stderr
    # A node that happens to be done when it is killed loses nothing; then another one is tried.
    for number in range(4):
        said = kill_command_and_node(cluster, sweep, tmp_path / f"ray{number}", results_of(tmp_path / "local"))
        if "lost" in said:
            break
    assert "lost" in said and "it is tried once more" in said
    # The rest of a cluster has no GPU.
    on_gpus = ("--backend", "ray", "--address", cluster.address, "--workers-per-gpu", "2")
    refused = sweep(tmp_path / "gpus", *on_gpus).end()
    assert refused.returncode == 2 and "has no GPU" in refused.stderr and not list((tmp_path / "gpus").iterdir())


def kill_command_and_node(cluster, sweep, folder, expected) -> str:
    """What the command that outlives the node says."""
    node = cluster.add_node(num_cpus=1)
    on_ray = (folder, "--backend", "ray", "--address", cluster.address)
    process = sweep(*on_ray)
    wait_for(process, folder, len)
    assert process.poll() is None, process.end().stderr  # else there was nothing to kill
    process.kill()
    process.end()
    kept = {name: file.stat().st_mtime_ns for name, file in results_of(folder).items()}
    process = sweep(*on_ray)
    # Both nodes are at work.
    wait_for(
        process,
        folder,
        lambda names: all(any(target in name and name not in kept for name in names) for target in ("af-ZA", "nl-NL")),
    )
    cluster.remove_node(node, allow_graceful=False)
    done = process.end()
    assert done.returncode == 0 and " 0 failed" in done.stdout, done.stderr
    now = results_of(folder)
    assert_same_results(now, expected)
    assert kept and all(now[name].stat().st_mtime_ns == then for name, then in kept.items())
    return done.stderr


def machines_at_work(cluster) -> set[int]:
    """The numbers of the processes that stand for the cluster's machines, of those whose tasks run now."""
    parents = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().startswith(b"ray::_do"):
                parents.add(int((process / "stat").read_text().rpartition(")")[2].split()[1]))
        except OSError:  # it has just ended
            pass
    # A process that a task is about to start has the task's name until it has its own, and the task as its parent.
    return parents & {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads who the parent of a process is")
def test_trainings_and_the_matrix_of_their_models_on_two_machines(cluster, begin, tmp_path, tiny_base):
    cluster.add_node(num_cpus=1)
    usual = ("--base-model", tiny_base, "--dataset-name", "mini", "--locales", "af-ZA", "nl-NL")
    own = ("--epochs", "2", "--additional-args", "--max_train_samples", "96", "--save_strategy", "no")
    for script, last in (("merginguriel/train_missing_models.py", own), ("merginguriel/run_nxn_evaluation.py", ())):
        made = {}
        for name, more in (("one", ()), ("two", ("--backend", "ray", "--address", cluster.address))):
            folder, together = tmp_path / name, set()
            folder.mkdir(exist_ok=True)
            process = begin(script, *usual, *more, *last, folder=folder, OMP_NUM_THREADS="1")
            while process.poll() is None:
                together = max(together, machines_at_work(cluster), key=len)
                time.sleep(0.02)
            done = process.end()
            assert done.returncode == 0 and " 0 failed" in done.stdout, done.stderr
            assert len(together) == (2 if more else 0)
            kinds = ("haryos_model/*/model.safetensors", "nxn_results/*/evaluation_matrix.csv")
            made[name] = sorted(file.read_bytes() for kind in kinds for file in folder.glob(kind))
        assert len(made["one"]) == 2 + ("nxn" in script) and made["one"] == made["two"]


def test_nobody_at_the_address(sweep, tmp_path):
    done = sweep(tmp_path, "--backend", "ray", "--address", "127.0.0.1:1").end()
    assert done.returncode == 2
    assert "error: no Ray cluster at 127.0.0.1:1: Connection refused" in done.stderr
