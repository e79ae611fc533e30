"""How much memory this process may still have: what the machine has free, or what its cgroup leaves.

Containers and SLURM jobs are limited by cgroups, which /proc/meminfo knows nothing of: a process that goes beyond is
killed. https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max, memory.current, memory.stat)
"""

import os
from collections.abc import Iterator
from pathlib import Path

# Version 2, then version 1: where hierarchies stand, and the names of the limit and of what is in use.
_VERSIONS = {
    "": ("", "memory.max", "memory.current"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process can have without swapping and without being killed for it; `root` is for tests."""
    return max(0, min([_of_machine(root / "proc/meminfo"), *_of_cgroups(root)]))


def _of_machine(meminfo: Path) -> int:
    for line in meminfo.read_text().splitlines() if meminfo.is_file() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    if not hasattr(os, "sysconf"):  # Windows: as if there were enough
        return 1 << 40
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_cgroups(root: Path) -> Iterator[int]:
    """What the process's cgroup and each above it leave."""
    file = root / "proc/self/cgroup"
    for line in file.read_text().splitlines() if file.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in _VERSIONS:
            continue
        folder, limit_file, used_file = _VERSIONS[controllers]
        top = root / "sys/fs/cgroup" / folder
        inside = top / path.lstrip("/")
        # A container may see its own cgroup as the top one, under the path that the host gave it.
        for cgroup in (inside, *inside.parents):
            limit, used = cgroup / limit_file, cgroup / used_file
            if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
                yield int(limit.read_text()) - int(used.read_text()) + _cache(cgroup / "memory.stat")
            if cgroup == top:
                break


def _cache(stat: Path) -> int:
    """Bytes of files that the kernel gives up when memory is short."""
    counts = dict(line.split() for line in stat.read_text().splitlines()) if stat.is_file() else {}
    return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
