from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import InputError
from recsys.config import FitConfig, load_config


def test_without_file_and_settings_the_defaults_hold() -> None:
    assert load_config(None) == FitConfig()


def test_a_setting_wins_over_the_file_and_leaves_its_neighbors_alone(tmp_path: Path) -> None:
    file = tmp_path / "fit.toml"
    file.write_text("seed = 3\n[train]\nepochs = 7\nbatch_users = 9\n")
    config = load_config(file, ["train.epochs=5", "evaluation.ks=[1, 2]"])
    assert (config.seed, config.train.epochs, config.train.batch_users) == (3, 5, 9)
    assert config.evaluation.ks == (1, 2)


def test_a_value_that_is_no_toml_is_text() -> None:
    assert load_config(None, ["encoders.text_model=some/folder"]).encoders.text_model == "some/folder"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.epoch=5", r"'train\.epoch': there is no such setting; did you mean 'epochs'\?, got 5"),
        ("zzz.epochs=5", r"'zzz': there is no such setting, got \{'epochs': 5\}"),
        ("train.epochs=-1", r"'train\.epochs'.*got -1"),
        ('graph.look_alikes=["image", "txt"]', r"'graph\.look_alikes\.1'.*'reviews'.*got 'txt'"),
        ("train.epochs", r"section\.field=value, got 'train\.epochs'"),
        ("=5", r"section\.field=value, got '=5'"),
    ],
)
def test_an_unusable_setting_is_refused_by_field_and_value(setting: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_config(None, [setting])


def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "fit.toml"
    file.write_text("seed = = 3")
    with pytest.raises(InputError, match=r"fit\.toml: cannot be read as TOML"):
        load_config(file)
