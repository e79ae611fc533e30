"""Free memory under the limits of cgroups, on file trees as the kernel shows them."""

import pytest

from merginguriel.utils.jobs.memory import free_memory

GIB = 1 << 30


def tree(root, files):
    for name, content in {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:   {64 * GIB // 1024} kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    return root


def test_of_a_machine_without_limits(tmp_path):
    assert free_memory(tree(tmp_path, {})) == 64 * GIB
    unlimited = {
        "proc/self/cgroup": "0::/user.slice\n",
        "sys/fs/cgroup/user.slice/memory.max": "max\n",
        "sys/fs/cgroup/user.slice/memory.current": GIB,
    }
    assert free_memory(tree(tmp_path, unlimited)) == 64 * GIB


def test_the_narrowest_of_nested_cgroups_counts(tmp_path):
    job, task = "sys/fs/cgroup/slurm/job_7", "sys/fs/cgroup/slurm/job_7/task_0"
    files = {
        "proc/self/cgroup": "0::/slurm/job_7/task_0\n",
        f"{job}/memory.max": f"{8 * GIB}\n",
        f"{job}/memory.current": 5 * GIB,
        f"{job}/memory.stat": f"anon {2 * GIB}\ninactive_file {GIB}\n",
        f"{task}/memory.max": "max\n",
        f"{task}/memory.current": GIB,
    }
    assert free_memory(tree(tmp_path, files)) == 8 * GIB - 5 * GIB + GIB


@pytest.mark.parametrize("path", ["/", "/docker/a1b2"])
def test_a_container_of_version_1(tmp_path, path):
    """The path may be the host's, which the container does not see."""
    memory = "sys/fs/cgroup/memory"
    files = {
        "proc/self/cgroup": f"5:devices:{path}\n4:memory:{path}\n0::/\n",
        f"{memory}/memory.limit_in_bytes": 4 * GIB,
        f"{memory}/memory.usage_in_bytes": 3 * GIB,
        f"{memory}/memory.stat": f"inactive_file 1\ntotal_inactive_file {2 * GIB}\n",
    }
    assert free_memory(tree(tmp_path, files)) == 3 * GIB


def test_nothing_is_left_beyond_a_limit(tmp_path):
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": GIB, "sys/fs/cgroup/memory.current": 2 * GIB}
    assert free_memory(tree(tmp_path, files)) == 0


def test_of_this_machine():
    assert 0 < free_memory() < 1 << 50
