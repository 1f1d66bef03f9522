"""What the job has been given to compute with."""

from __future__ import annotations

import math
import os
from pathlib import Path

from model.tensorflow import tf

CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")


def count_cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: its affinity, or less where a control group's quota (v2 or v1) says so."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return allowed
    if quota in ("max", "-1"):
        return allowed
    return max(1, min(allowed, math.ceil(int(quota) / int(period))))


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor multiplies numbers of bfloat16 faster than those of float32."""
    try:
        flags = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def prepare(seed: int) -> None:
    """Threads for the cores that the job has, and the same results from the same seed. GPUs are found by TensorFlow."""
    tf.config.threading.set_intra_op_parallelism_threads(count_cores())
    tf.config.threading.set_inter_op_parallelism_threads(count_cores())
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
