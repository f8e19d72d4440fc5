"""Comparisons: what is fitted, in which processes, and what becomes of what fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.bench import bench, run
from recsys.bench.bench import ablations, compare_models
from recsys.bench.memory import Growth
from recsys.bench.read import read_task
from recsys.bench.task import Task
from recsys.cli import build_app
from recsys.models.registry import MODELS, named
from tests.recsys.tastes import QUICK, planted_folder, quick


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_folder(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def task(folder: Path, tmp_path: Path) -> Task:
    return read_task(folder, split_file=None, refit=None, cache_dir=tmp_path, quarantine=Quarantine())


@pytest.fixture
def here() -> Iterator[list[str]]:
    """Fits in this process, which is quicker, and tells which ones there were."""
    done: list[str] = []

    def call(function: Any, task: Task, name: str, *args: Any, **kwargs: Any) -> Any:
        done.append(f"{function.__name__} {name} {kwargs.get('seed', '')}".strip())
        return function(task, name, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "apart", call)
        yield done


def test_the_command_leaves_tables_and_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    asked = ["bench", str(folder), "--out", str(tmp_path), "--models", "popularity,mf", "--seeds", "2", "--trials", "1"]
    asked += [f"--set=mf.{name}={value}" for name, value in QUICK.items()]
    first = CliRunner().invoke(build_app(), asked, catch_exceptions=False)
    assert first.exit_code == 0
    told = json.loads((tmp_path / "bench.json").read_bytes())
    assert told["dataset"] == "tastes"
    assert "validation" in told["protocol"]
    assert told["complete"] is True
    mf = told["models"]["mf"]
    recall = mf["test"]["recall@20"]
    assert recall["seeds"] == 2
    assert recall["mean"] == pytest.approx(np.mean(recall["values"]))
    assert recall["std"] == pytest.approx(np.std(recall["values"], ddof=1))
    assert recall["interval"][0] <= recall["mean"] <= recall["interval"][1]
    assert mf["fit_s"] > 0
    assert mf["cpu_s"] > 0
    assert 0 < mf["peak_bytes"] < 2**31
    assert mf["tuning"]["tried"] == 2
    assert told["models"]["popularity"]["test"]["recall@20"]["seeds"] == 1, "no chance in it: fitted once"
    assert told["models"]["popularity"]["test"]["recall@20"]["std"] is None
    page = (tmp_path / "bench.md").read_text()
    assert "| popularity | " in page
    assert told["protocol"] in page
    fits = sorted(path.name for path in (tmp_path / "runs").glob("*.json"))
    times = [(tmp_path / "runs" / name).stat().st_mtime_ns for name in fits]
    again = CliRunner().invoke(build_app(), asked, catch_exceptions=False)
    assert again.exit_code == 0
    assert json.loads((tmp_path / "bench.json").read_bytes()) == told
    assert [(tmp_path / "runs" / name).stat().st_mtime_ns for name in fits] == times
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == [], "checkpoints are cleared away"


def test_only_what_is_new_is_fitted(task: Task, tmp_path: Path, here: list[str]) -> None:
    told = compare_models(task, named(["popularity", "mf"]), quick(seeds=1, trials=0), out=tmp_path)
    assert here == ["final popularity 0", "final mf 0"], "nothing to choose between"
    here.clear()
    more = compare_models(task, named(["popularity", "mf"]), quick(seeds=2, trials=0), out=tmp_path)
    assert here == ["final mf 1"]
    values = [one["models"]["mf"]["test"]["recall@20"]["values"] for one in (told, more)]
    assert values[1][:1] == values[0]


def test_a_model_without_the_content_it_needs_is_left_out_with_the_reason(
    task: Task, tmp_path: Path, here: list[str]
) -> None:
    bare = replace(task, known=task.known.without("image", "audio"))
    told = compare_models(bare, named(["vbpr", "popularity"]), quick(), out=tmp_path)
    assert told["models"].keys() == {"popularity"}
    assert "the data set has none" in told["failed"]["vbpr"]
    assert "vbpr is left out" in (tmp_path / "bench.md").read_text()


def test_a_model_that_fails_says_why_and_the_others_go_on(
    task: Task, tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError("too large")

    monkeypatch.setitem(MODELS, "mf", replace(MODELS["mf"], fit=fail))
    told = compare_models(task, [MODELS["mf"], MODELS["popularity"]], quick(), out=tmp_path)
    assert told["failed"] == {"mf": "MemoryError: too large"}
    assert told["models"].keys() == {"popularity"}


def test_fits_side_by_side_come_to_the_same_tables(task: Task, tmp_path: Path) -> None:
    models = named(["popularity", "mf"])
    beside = compare_models(task, models, quick(trials=0, jobs=3), out=tmp_path / "3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "apart", lambda function, *args, **kwargs: function(*args, **kwargs))
        alone = compare_models(task, models, quick(trials=0), out=tmp_path / "1")
    assert list(beside["models"]) == ["popularity", "mf"]
    for name, one in alone["models"].items():
        assert one["test"] == beside["models"][name]["test"]


def test_two_jobs_are_two_fits_at_a_time(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=30)

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        both.wait()
        return function(*args, **kwargs)

    monkeypatch.setattr(bench, "apart", call)
    told = compare_models(task, named(["mf"]), quick(trials=0, jobs=2), out=tmp_path)
    assert told["models"]["mf"]["test"]["recall@20"]["seeds"] == 2


def test_jobs_share_the_cores_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with run.shared_cores(3):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("1", "2")
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    with run.shared_cores(1):
        assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_an_unusable_input_ends_what_is_waiting(
    task: Task, tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise InputError("no such thing")

    def dawdle(*args: Any) -> Any:
        time.sleep(0.5)
        return MODELS["random"].fit(*args)

    monkeypatch.setitem(MODELS, "mf", replace(MODELS["mf"], fit=refuse))
    monkeypatch.setitem(MODELS, "popularity", replace(MODELS["popularity"], fit=dawdle))
    with pytest.raises(InputError, match="no such thing"):
        compare_models(task, [MODELS["mf"], MODELS["popularity"], MODELS["ease"]], quick(trials=0), out=tmp_path)
    assert "final ease 0" not in here


def test_a_process_that_is_killed_is_told(task: Task) -> None:
    with pytest.raises(run.ProcessEndedError, match="memory"):
        run.apart(_die)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_ablation_tells_what_each_part_brings(task: Task, tmp_path: Path, here: list[str]) -> None:
    assert ablations(task, MODELS["mf"]) == {}
    assert set(ablations(task, MODELS["freedom"])) == {"no image", "no audio", "no item graph", "ids only"}
    told = compare_models(task, named(["content"]), quick(ablation=True), out=tmp_path)
    rows = told["ablation"]["content"]
    assert rows.keys() == {"no image", "no audio", "ids only"}
    whole = told["models"]["content"]["test"]["recall@20"]["mean"]
    lost, low, _ = rows["no image"]["loss"]["recall@20"]
    assert low > 0.1, "pictures tell the tastes"
    assert lost == pytest.approx(whole - rows["no image"]["test"]["recall@20"]["mean"])
    kept = rows["no audio"]["loss"]["recall@20"]
    assert abs(kept[0]) < 0.1
    page = (tmp_path / "bench.md").read_text()
    assert "| image |" in page
    assert "it helps" in page


def test_growth_sees_memory_that_was_given_back() -> None:
    growth = Growth()
    before = growth.bytes()
    block = np.ones(40_000_000, dtype=np.float32)
    del block
    assert growth.bytes() - before > 120_000_000
    assert Growth().bytes() < 60_000_000, "an earlier peak is not counted"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_fit_ends_with_the_program_that_asked_for_it(how: signal.Signals) -> None:
    asker = "from recsys.bench.run import apart\nfrom tell import wait\nif __name__ == '__main__':\n    apart(wait)\n"
    waiter = "import os, time\n\n\ndef wait():\n    print(os.getpid(), flush=True)\n    time.sleep(300)\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ask.py").write_text(asker)
        (Path(folder) / "tell.py").write_text(waiter)
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "ask.py"], cwd=folder, stdout=pipe, stderr=pipe, text=True) as program:
            assert program.stdout is not None
            fit = int(program.stdout.readline())
            assert _alive(fit)
            program.send_signal(how)
            _, said = program.communicate(timeout=60)
    assert ("KeyboardInterrupt" in said) == (how == signal.SIGINT)
    for _ in range(100):
        if not _alive(fit):
            return
        time.sleep(0.1)
    pytest.fail(f"process {fit} outlived its parent")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.is_file() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")
