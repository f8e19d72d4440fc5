"""Every command on the pages is taken by its own parser: `recsys ...`, `make ...`, `benchmarks/bench_....py ...`."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import Exit, TyperException

from features.errors import InputError
from recsys.bench.settings import model_settings
from recsys.cli import build_app
from recsys.config import load_config
from recsys.match_config import load_match_config
from tests.docs.pages import PAGES, ROOT, commands

SETTINGS: dict[str, Callable[[list[str]], object]] = {
    "fit": lambda settings: load_config(None, settings),
    "match fit": lambda settings: load_match_config(None, settings),
    "bench": model_settings,
}
"""What reads the `--set` of a command."""


@cache
def recsys_command() -> Any:
    return typer.main.get_command(build_app())


def words_of_recsys(words: list[str]) -> list[str] | None:
    """What follows `recsys`, by whatever path or `-m recsys`; None where it is no such command."""
    if Path(words[0]).name == "recsys":
        return words[1:]
    if "-m" in words[:-1] and words[words.index("-m") + 1] == "recsys":
        return words[words.index("-m") + 2 :]
    return None


def wrong_in_recsys(words: list[str]) -> str:
    """What is wrong in `recsys NAME ...`, "" for nothing.

    a|b names two commands; a name in capitals stands for one, a value in capitals for any. A command that stands alone
    in a sentence may lack what it needs.
    """
    here, path = recsys_command(), []
    while words and hasattr(here, "commands"):
        if words[0].startswith("-") or words[0].isupper():
            return ""
        missing = [name for name in words[0].split("|") if name not in here.commands]
        if missing:
            return f"no command {' '.join([*path, *missing])}"
        if "|" in words[0]:
            return ""
        path.append(words[0])
        here, words = here.commands[words[0]], words[1:]
    if hasattr(here, "commands"):
        return ""
    name = " ".join(path)
    said = refused(name, here, words) and refused(name, here, ["1" if word.isupper() else word for word in words])
    named_alone = not positional(words) and (said.startswith("Missing") or said.endswith("requires an argument."))
    return "" if named_alone else said


def positional(words: list[str]) -> bool:
    """Whether anything is given that the command is about."""
    return bool(words) and not words[0].startswith("-")


def refused(name: str, command: Any, words: list[str]) -> str:
    """What a command says against its words, "" where it takes them."""
    if "..." in words:
        words = words[: words.index("...")]
        words = words[:-1] if words and words[-1].startswith("-") else words
    try:
        given = command.make_context(name, list(words)).params
        settings = [one for one in given.get("setting") or () if not re.search(r"\.\.\.|\.[A-Z]", one)]
        SETTINGS.get(name, len)(settings)
    except Exit:  # --help
        return ""
    except (TyperException, InputError) as error:
        return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_recsys_command_on_a_page_is_taken(page: Path) -> None:
    asked = [(snippet, words_of_recsys(words)) for snippet, words in commands(page)]
    wrong = {snippet: wrong_in_recsys(rest) for snippet, rest in asked if rest}
    assert not {snippet: said for snippet, said in wrong.items() if said}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fitt SHOP", "no command fitt"),
        ("fit SHOP --nope", "No such option: --nope"),
        ("fit SHOP --set train.epoch=3", "no such setting"),
        ("bench DATA --seeds few", "valid integer"),
        ("graph path G user/u1", "Missing"),
    ],
)
def test_what_would_be_refused_is_noticed(words: str, said: str) -> None:
    assert said in wrong_in_recsys(words.split())


class _Parser(BaseException):
    """Carries a script's parser out of it, at the moment when it would read the command line."""


@contextmanager
def stopped_at_its_parser(patch: pytest.MonkeyPatch) -> Iterator[None]:
    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Parser(parser)

    with patch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        yield


@cache
def parser_of(script: Path) -> argparse.ArgumentParser:
    """A benchmark's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(script.parent))
        spec = importlib.util.spec_from_file_location(script.stem, script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, script.stem, module)
        spec.loader.exec_module(module)
        with stopped_at_its_parser(patch), pytest.raises(_Parser) as carried:
            module.main()
    parser: argparse.ArgumentParser = carried.value.args[0]
    return parser


def wrong_in_benchmark(words: list[str]) -> str:
    script = ROOT / "benchmarks" / Path(words[0]).name
    if not script.is_file():
        return "no such script"
    parser, rest = parser_of(script), words[1:]
    for given in (rest, ["1" if word.isupper() else word for word in rest]):
        try:
            parser.parse_args(given)
        except SystemExit:
            continue
        return ""
    unknown = [word for word in rest if word.startswith("--") and word not in parser.format_help()]
    return f"no option {' '.join(unknown)}" if unknown or positional(rest) else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_benchmark_on_a_page_is_taken(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {}
    for snippet, words in commands(page):
        place = next((place for place, word in enumerate(words) if re.search(r"\bbench_\w+\.py$", word)), None)
        if place is not None:
            wrong[snippet] = wrong_in_benchmark(words[place:])
    assert not {snippet: said for snippet, said in wrong.items() if said}, capsys.readouterr().err


def test_an_option_that_a_benchmark_lacks_is_noticed() -> None:
    assert wrong_in_benchmark(["bench_encode.py", "--nope", "3"]) == "no option --nope"
    assert wrong_in_benchmark(["bench_nope.py"]) == "no such script"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_on_a_page_is_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert "demo" in targets
    asked = {word for _, words in commands(page) if words[0] == "make" for word in words[1:] if "=" not in word}
    assert asked <= targets
