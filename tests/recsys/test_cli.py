from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def recsys(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recsys", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_help_teaches_the_flow_in_order_and_names_every_command(tmp_path: Path) -> None:
    done = recsys("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "synth  ->  check  ->  fit  ->  evaluate  ->  publish  ->  serve" in done.stdout
    listed = done.stdout[done.stdout.index("Commands") :]
    places = [listed.index(f"  {name}") for name in ("synth", "check", "fit", "evaluate", "publish", "serve", "demo")]
    assert places == sorted(places)
    assert "doctor" in listed
    assert "..." not in listed  # each is told to the end of its sentence


def test_help_of_a_group_tells_each_of_its_commands_to_the_end(tmp_path: Path) -> None:
    listed = recsys("shadow", "--help", cwd=tmp_path).stdout.partition("Commands")[2]
    assert "End the trial; the version's keys expire within a minute." in " ".join(listed.split())
    assert "..." not in listed


def test_help_does_not_wait_for_the_training_stack(tmp_path: Path) -> None:
    code = (
        "import sys; from recsys.cli import build_app; build_app(); "
        "print(sorted({'torch', 'pandas', 'transformers', 'redis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


def test_a_mistake_of_the_user_ends_in_one_line_and_code_2(tmp_path: Path) -> None:
    done = recsys("fit", "no-such-shop", cwd=tmp_path)
    assert done.returncode == 2
    assert "no-such-shop" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".recsys" / "fit").exists()


def test_what_the_disk_refuses_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = recsys("synth", "file/shop", "--items", "200", cwd=tmp_path)
    assert done.returncode == 2
    said = "".join(done.stderr.split())  # which is wrapped anywhere
    assert re.search(r"^error:/\S*/file/\S*:Notadirectory;whatwasdonebeforeiskept", said)
    assert "Traceback" not in said
