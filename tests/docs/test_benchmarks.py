"""What every benchmark leaves where it is asked to: figures, machine and settings as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("bench_*.py")), ids=lambda script: script.stem)
def test_every_benchmark_takes_a_file_for_its_figures(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert "takes_json(" in text
    assert "keep(" in text
    assert '"--json"' not in text  # the option is the same everywhere


def test_the_file_holds_figures_ratios_machine_and_settings_and_what_is_undefined_is_null(tmp_path: Path) -> None:
    file = tmp_path / "counters.json"
    command = [sys.executable, str(BENCHMARKS / "bench_counters.py"), "--requests", "400", "--seeds", "1"]
    subprocess.run([*command, "--json", str(file)], check=True, capture_output=True)
    told = json.loads(file.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert told["ratio"] == pytest.approx(told["counters"]["mean"] / told["click rate"]["mean"], abs=0.01)
    assert told["counters"]["sd"] is None  # one seed has no deviation
    assert told["settings"] == {"requests": 400, "seeds": 1}
    assert told["machine"]["cores"] >= 1
    assert told["machine"]["processor"]
