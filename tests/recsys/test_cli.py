from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
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


def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on_and_code_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recsys", "synth", "shop", "--items", "3000"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        end = time.monotonic() + 60
        while not any(tmp_path.rglob("*.zip")):  # the first pictures are drawn
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: its helpers are told, too
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted; what was done before is kept, the same command goes on from there" in " ".join(said.split())
    assert "Traceback" not in said
