"""What is freed stays with the process, for the next gulp."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from mlppa.allocator import keep_freed_memory
import numpy as np

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if "keep" in sys.argv:
    keep_freed_memory()
held = np.ones(2**26, np.int8)
above = np.ones(2**20, np.int8)
before = resident()
del held
print((before - resident()) >> 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc on Linux")
def test_freed_memory_is_kept() -> None:
    def given_back(*words: str) -> int:
        command = [sys.executable, "-c", SCRIPT, *words]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    if given_back() < 60:
        pytest.skip("another C library: it keeps what is freed by itself")
    assert given_back("keep") < 4
