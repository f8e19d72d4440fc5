"""A machine that only serves: torch and all that rests on it are not there."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from recsys.fit_tools import fit_tools

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
WITHOUT = (
    "import sys\n"
    "from recsys.fit_tools import fit_tools\n"
    "for name in fit_tools() - {'httpcore', 'huggingface_hub'}:\n"  # httpx and tokenizers bring these two
    "    sys.modules[name] = None\n"  # as if it was not installed
    "from recsys.cli import main\n"
    "main()\n"
)


def recsys_alone(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_what_the_service_must_not_import_is_not_installed_with_it() -> None:
    forbidden = next(
        one["forbidden_modules"] for one in PYPROJECT["tool"]["importlinter"]["contracts"] if one["type"] == "forbidden"
    )
    assert set(forbidden) <= fit_tools()
    assert not fit_tools() & {one.partition(">")[0] for one in PYPROJECT["project"]["dependencies"]}


def test_a_command_that_trains_says_what_to_install_where_the_fit_tools_are_not(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "items.csv").write_text("item_id,title\na,red shoe\nb,blue shoe\n")
    done = recsys_alone("fit", "shop", cwd=tmp_path)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "error: this needs the fit tools, and torch is not installed: pip install 'recsys[fit]'" in said
    assert "Traceback" not in said


def test_doctor_finds_nothing_broken_where_only_the_service_is_installed(tmp_path: Path) -> None:
    done = recsys_alone("doctor", "--json", cwd=tmp_path)
    findings = {finding["what"]: finding["state"] for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert findings["fit tools"] == "note"
    assert "torch" not in findings
    assert findings["redis server"] == findings["faiss-cpu"] == "ok"
