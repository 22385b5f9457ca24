"""The machine itself: processors, memory, limits, an accelerator."""

import os
import re
from collections.abc import Iterator

from .finding import Finding, Needs
from .host import Host, as_bytes, in_words

#: Python and its libraries, beside what the search holds.
PROGRAM_BYTES = 300 << 20

#: Less than this is short for any plan.
LEAST_FREE_BYTES = 2 << 30

#: More than this in swap is more than what nobody asks for.
SOME_SWAP_BYTES = 64 << 20

#: Files that may be open at once: sockets of subscribers, files of an observation.
LEAST_FILES = 1024

#: A limit above this is none.
_NO_LIMIT = 1 << 60


def processors(host: Host, needs: Needs) -> Iterator[Finding]:
    """Count the processors that we may use."""
    allowed = host.fields("/proc/self/status").get("Cpus_allowed_list", "")
    count = sum(_length(part) for part in allowed.split(",") if part)
    if not count:
        yield Finding("processors", "unknown", "/proc/self/status does not tell them")
        return
    quota = _quota(host)
    usable = count if quota is None else min(float(count), quota)
    said = f"{count} may be used"
    if usable < count:
        said += f", for {usable:.3g} processors' time (limit of a control group)"
    if usable < needs.threads:
        remedy = f"set search.threads to {max(1, int(usable))}, or allow more processors"
        said += f"; search.threads asks for {needs.threads}"
        yield Finding("processors", "warning", said, remedy)
    elif usable < 2:
        remedy = "allow two or more: reading and cleaning run beside the search"
        yield Finding("processors", "warning", said, remedy)
    else:
        yield Finding("processors", "fine", said)


def _length(part: str) -> int:
    """Count the numbers of a part such as ``3`` or ``0-7``."""
    first, _, last = part.partition("-")
    return int(last or first) - int(first) + 1


def _quota(host: Host) -> float | None:
    """Give how many processors' time the control groups allow; None for no limit."""
    quotas = []
    for folder in host.control_groups("cpu"):
        words = (host.read(f"{folder}/cpu.max") or "").split()
        if not words:
            v1 = (host.read(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
            words = [word or "-1" for word in v1]
        if len(words) == 2 and all(word.isdigit() and int(word) for word in words):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def vectors(host: Host, _: Needs) -> Iterator[Finding]:
    """Look for the instructions that the kernels gain most from."""
    about = host.fields("/proc/cpuinfo")
    flags = set(about.get("flags", about.get("Features", "")).split())
    if not flags:
        yield Finding("vector instructions", "unknown", "/proc/cpuinfo does not tell them")
        return
    known = {"avx512bw": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sve": "SVE", "asimd": "NEON"}
    found = [name for flag, name in known.items() if flag in flags]
    said = f"{', '.join(found) or 'none'} ({about.get('model name', 'unnamed processor')})"
    if "flags" in about and "avx2" not in flags:
        remedy = "use a processor with AVX2, or let the virtual machine show it (model: host)"
        yield Finding("vector instructions", "warning", f"no AVX2: {said}", remedy)
    else:
        yield Finding("vector instructions", "fine", said)


def governor(host: Host, _: Needs) -> Iterator[Finding]:
    """Look how the clock of the processors is governed."""
    folder = host.at("/sys/devices/system/cpu")
    found = {
        (host.read(f"{path}/scaling_governor"), host.read(f"{path}/scaling_driver"))
        for path in (
            f"/sys/devices/system/cpu/{cpu.name}/cpufreq" for cpu in folder.glob("cpu[0-9]*")
        )
    }
    known = {(name, driver) for name, driver in found if name}
    if not known:
        said = "the kernel does not tell (usual in a virtual machine)"
        yield Finding("processor clock", "unknown", said)
        return
    # the powersave of these drivers does raise the clock under load
    slow = any(
        name == "powersave" and driver not in ("intel_pstate", "amd-pstate-epp")
        for name, driver in known
    )
    said = "governor " + ", ".join(sorted(str(name) for name, _ in known))
    remedy = "sudo cpupower frequency-set -g performance" if slow else None
    yield Finding("processor clock", "warning" if slow else "fine", said, remedy)


def memory(host: Host, needs: Needs) -> Iterator[Finding]:
    """Compare the free memory with what the plan holds."""
    about = host.fields("/proc/meminfo")
    if "MemAvailable" not in about:
        yield Finding("memory", "unknown", "/proc/meminfo does not tell what is available")
        return
    available = as_bytes(about["MemAvailable"])
    said = f"{in_words(available)} available"
    limit = _memory_limit(host)
    if limit is not None and limit < available:
        available = limit
        said = f"{in_words(limit)} allowed (limit of a control group)"
    if needs.memory_bytes is None:
        short = available < LEAST_FREE_BYTES
        remedy = "end other programs, or allow more" if short else None
        yield Finding("memory", "warning" if short else "fine", said, remedy)
        return
    wanted = needs.memory_bytes + PROGRAM_BYTES
    said += f"; the plan holds about {in_words(needs.memory_bytes)}"
    if available < wanted:
        remedy = "lower search.dm_max, end other programs, or allow more"
        yield Finding("memory", "fault", said, remedy)
    else:
        yield Finding("memory", "fine", said)


def _memory_limit(host: Host) -> int | None:
    folders = list(host.control_groups("memory"))
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    found = (host.number(f"{folder}/{name}") for folder in folders for name in names)
    return min((limit for limit in found if limit is not None and limit < _NO_LIMIT), default=None)


def swap(host: Host, _: Needs) -> Iterator[Finding]:
    """Look whether memory was moved to the disk."""
    about = host.fields("/proc/meminfo")
    if not {"SwapTotal", "SwapFree"} <= about.keys():
        yield Finding("swap", "unknown", "/proc/meminfo does not tell")
        return
    total, free = as_bytes(about["SwapTotal"]), as_bytes(about["SwapFree"])
    if total - free > SOME_SWAP_BYTES:
        said = f"{in_words(total - free)} of {in_words(total)} are in use"
        remedy = "end what fills the memory; sudo sysctl -w vm.swappiness=10"
        yield Finding("swap", "warning", f"{said}: a stage that waits for it falls behind", remedy)
    else:
        yield Finding("swap", "fine", f"{in_words(total)}, not in use" if total else "none")


def limits(host: Host, _: Needs) -> Iterator[Finding]:
    """Look how many files we may open, and how much memory we may lock."""
    text = host.read("/proc/self/limits") or ""
    found = dict(re.findall(r"^Max (open files|locked memory) +(\w+)", text, re.MULTILINE))
    if "open files" not in found:
        yield Finding("limits", "unknown", "/proc/self/limits does not tell them")
        return
    files, locked = found["open files"], found.get("locked memory", "")
    locked = in_words(int(locked)) if locked.isdigit() else locked or "an unknown amount"
    said = f"{files} open files, {locked} of locked memory"
    if files.isdigit() and int(files) < LEAST_FILES:
        remedy = f"ulimit -n {4 * LEAST_FILES}, or LimitNOFILE={4 * LEAST_FILES} in the unit"
        yield Finding("limits", "warning", said, remedy)
    else:
        yield Finding("limits", "fine", said)


def gpu(host: Host, needs: Needs) -> Iterator[Finding]:
    """Look for an accelerator; TensorFlow, which takes seconds, is not asked."""
    query = "--query-gpu=name,memory.total,driver_version"
    told = host.ask("nvidia-smi", query, "--format=csv,noheader") or ""
    found = [line.strip() for line in told.splitlines() if line.strip()]
    if not found:
        folders = sorted(host.at("/proc/driver/nvidia/gpus").glob("*"))
        paths = (f"/proc/driver/nvidia/gpus/{folder.name}/information" for folder in folders)
        found = [host.fields(path).get("Model", "unnamed") for path in paths]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if found and not hidden:
        said = f"{'; '.join(found)}. Whether TensorFlow sees it was not tried"
        yield Finding("accelerator", "fine", said, "mlppa bench dt --device gpu tries it")
        return
    said = f"{'; '.join(found)}, hidden by CUDA_VISIBLE_DEVICES" if found else "none is seen"
    if needs.device == "gpu":
        remedy = "set classify.device to cpu, or mend the driver (nvidia-smi must list it)"
        yield Finding("accelerator", "fault", f"{said}; classify.device asks for one", remedy)
    else:
        yield Finding("accelerator", "fine", f"{said}; the network runs on the processors")
