"""Description of the machine of a measurement, and storage of results."""

import datetime
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine():
    """Return date, processor, number of usable cores and package versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ("numpy", "scipy", "torch", "optuna", "mlflow", "lrsearch")
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "processor": names[0] if names else platform.processor(),
        "cores": cores,
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def record(name, figures):
    """Print figures and store them with the machine and the date."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), **figures}, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
    print(text, end="")
