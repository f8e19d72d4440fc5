from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from features.encoders import bundled, models
from features.encoders.config import EncoderConfig
from features.encoders.statement import pooling_of, statement_of
from features.encoders.text import TextEncoder
from features.errors import InputError

TEXTS = ["red running shoes", "crimson sneakers for the street and the track, light and breathable", "tax report"]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder.of(EncoderConfig())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer BERT with random weights and the bundled tokenizer, as a user's own folder."""
    library = models.transformers()
    folder = tmp_path_factory.mktemp("tiny")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(bundled.text_folder() / name, folder)
    torch.manual_seed(0)
    config = library.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=24
    )
    library.BertModel(config).eval().save_pretrained(folder)
    return folder


def test_what_means_alike_is_close(encoder: TextEncoder) -> None:
    vectors = unit(encoder.encode(TEXTS))
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


def test_padding_does_not_change_a_vector(encoder: TextEncoder) -> None:
    together = encoder.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[row], encoder.encode([text])[0], atol=1e-5)


def test_a_text_is_cut_at_the_limit(encoder: TextEncoder) -> None:
    short = TextEncoder(encoder.folder, 6, encoder.device)
    # 6 tokens: the start, four words, the end
    np.testing.assert_allclose(
        short.encode(["one two three four five six"]), short.encode(["one two three four"]), atol=1e-6
    )
    assert short.fingerprint != encoder.fingerprint


def test_a_local_folder_is_pooled_over_its_tokens_and_cut_at_its_own_limit(tiny: Path) -> None:
    encoder = TextEncoder.of(EncoderConfig(text_model=str(tiny)))
    library = models.transformers()
    model, tokenizer = library.BertModel.from_pretrained(tiny).eval(), library.AutoTokenizer.from_pretrained(tiny)
    with torch.inference_mode():
        hidden = model(**tokenizer("red shoes", return_tensors="pt")).last_hidden_state[0]
    np.testing.assert_allclose(encoder.encode(["red shoes"])[0], hidden.mean(0).numpy(), atol=1e-5)
    assert encoder.dim == 16
    assert encoder.encode(["word " * 100]).shape == (1, 16)


def test_a_folder_that_pools_at_the_first_token_is_obeyed(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "cls")
    (folder / "1_Pooling").mkdir()
    settings = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    assert pooling_of(folder) == "cls"
    given = TextEncoder.of(EncoderConfig(text_model=str(folder)))
    mean = TextEncoder.of(EncoderConfig(text_model=str(tiny)))
    assert not np.allclose(given.encode(["red shoes"]), mean.encode(["red shoes"]), atol=1e-3)
    assert given.fingerprint != mean.fingerprint


def test_layers_that_are_not_known_are_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(InputError, match="Dense"):
        statement_of(tmp_path)
    (tmp_path / "modules.json").unlink()
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(InputError, match="max_tokens"):
        pooling_of(tmp_path)


def test_the_fingerprint_follows_the_weights(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    config = EncoderConfig(text_model=str(folder))
    assert TextEncoder.of(config).fingerprint == TextEncoder.of(EncoderConfig(text_model=str(tiny))).fingerprint
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert TextEncoder.of(config).fingerprint != TextEncoder.of(EncoderConfig(text_model=str(tiny))).fingerprint


def test_a_hub_name_is_fetched_only_when_asked_and_a_local_folder_never(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    def download(name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((name, local_files_only))
        assert not any("*.bin" in pattern or "*.pt" in pattern for pattern in allow_patterns)
        return str(tiny)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    TextEncoder.of(EncoderConfig())
    TextEncoder.of(EncoderConfig(text_model=str(tiny)))
    assert asked == []
    assert TextEncoder.of(EncoderConfig(text_model="someone/some-model")).folder == tiny
    TextEncoder.of(EncoderConfig(text_model="someone/some-model", download=True))
    assert asked == [("someone/some-model", True), ("someone/some-model", False)]  # name, local files only


def test_a_hub_that_cannot_be_reached_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, **_: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(InputError, match="'someone/some-model' is no local folder and cannot be downloaded: no route"):
        TextEncoder.of(EncoderConfig(text_model="someone/some-model", download=True))


def test_a_hub_name_that_is_not_on_this_machine_says_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"'someone/some-model'.* set encoders\.download = true"):
        TextEncoder.of(EncoderConfig(text_model="someone/some-model"))


@pytest.mark.parametrize("name", ["minilm", "/no/such/folder", "./relative", "a/b/c", ""])
def test_a_name_that_is_neither_folder_nor_hub_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="text_model must be"):
        TextEncoder.of(EncoderConfig(text_model=name))


def test_a_folder_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        TextEncoder.of(EncoderConfig(text_model=str(tmp_path)))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"\*\.safetensors"):
        TextEncoder.of(EncoderConfig(text_model=str(tmp_path)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_a_missing_gpu_is_an_error_only_when_asked_for() -> None:
    assert models.device_of("auto").type == "cpu"
    with pytest.raises(InputError, match="no CUDA GPU is found"):
        models.device_of("cuda")
