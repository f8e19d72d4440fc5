"""Text models of every kind, small and with random weights, against what transformers gives for each text alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.encoders import models
from features.encoders.config import EncoderConfig
from features.encoders.statement import statement_of
from features.encoders.text import TextEncoder, pool
from features.errors import InputError
from tests.features.text_models import Folder, save_bert, save_gpt2, save_llama, save_roberta, save_t5

ENGLISH_TEXTS = ["red shoe", "the very small blue mug and the large old chair of the new", "a"]
CHINESE_TEXTS = ["红色的鞋子", "很大的蓝色杯子", "椅子", "red 鞋子"]


def alone(folder: Path, text: str) -> np.ndarray:
    """Hidden states of one text, never padded, [tokens, dim]."""
    library = models.transformers()
    model = library.AutoModel.from_pretrained(folder).eval()
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    tokens = library.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    states: np.ndarray = hidden[0].numpy()
    return states


OF = {"mean": lambda hidden: hidden.mean(0), "cls": lambda hidden: hidden[0], "last": lambda hidden: hidden[-1]}


@pytest.mark.parametrize(
    ("save", "expected"),
    [(save_bert, "mean"), (save_roberta, "mean"), (save_t5, "mean"), (save_gpt2, "last"), (save_llama, "last")],
)
@pytest.mark.parametrize("pooling", [None, "mean", "cls", "last"])
def test_every_kind_of_model_gives_each_text_the_vector_it_has_alone(
    model_folder: Folder, save: Callable[[Path], None], expected: str, pooling: Any
) -> None:
    folder = model_folder(save)
    texts = ENGLISH_TEXTS + CHINESE_TEXTS
    vectors = TextEncoder.of(EncoderConfig(text_model=str(folder), text_pooling=pooling)).encode(texts)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(vectors[row], OF[pooling or expected](alone(folder, text)), atol=1e-5)
    assert vectors.shape == (len(texts), 16)


def test_chinese_is_read_character_by_character(model_folder: Folder) -> None:
    encoder = TextEncoder.of(EncoderConfig(text_model=str(model_folder(save_bert))))
    (row,) = encoder.tokens(["红色的鞋子"])
    assert len(row) == 5 + 2
    assert encoder.tokenizer.unk_token_id not in row
    red, blue, again = encoder.encode(["红色的鞋子", "蓝色的鞋子", "红色的鞋子"])
    np.testing.assert_allclose(red, again, atol=1e-6)
    assert np.abs(red - blue).max() > 1e-2


@pytest.mark.parametrize("how", ["mean", "cls", "last"])
def test_filling_counts_nowhere_on_whichever_side_it_stands(how: Any) -> None:
    hidden = torch.tensor([[[1.0], [2.0], [6.0]]])
    filled = torch.full((1, 2, 1), 99.0)
    expected = {"mean": 3.0, "cls": 1.0, "last": 6.0}[how]
    ones, zeros = torch.ones(1, 3, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long)
    right = pool(torch.cat([hidden, filled], 1), torch.cat([ones, zeros], 1), how)
    left = pool(torch.cat([filled, hidden], 1), torch.cat([zeros, ones], 1), how)
    assert right.tolist() == left.tolist() == [[expected]]


def test_the_roberta_family_is_cut_before_its_positions_end(model_folder: Folder) -> None:
    encoder = TextEncoder.of(EncoderConfig(text_model=str(model_folder(save_roberta))))
    assert encoder.limit == 20
    assert np.isfinite(encoder.encode(["red " * 60])).all()


def test_the_middle_of_a_long_text_can_be_cut_out_instead_of_its_end(model_folder: Folder) -> None:
    folder = str(model_folder(save_bert))
    head = TextEncoder.of(EncoderConfig(text_model=folder, max_tokens=6))
    both = TextEncoder.of(EncoderConfig(text_model=folder, max_tokens=6, truncation="head+tail"))
    text = "red blue green shoe mug chair old new"
    words = head.tokenizer.convert_ids_to_tokens
    assert words(head.tokens([text])[0]) == ["[CLS]", "red", "blue", "green", "shoe", "[SEP]"]
    assert words(both.tokens([text])[0]) == ["[CLS]", "red", "blue", "old", "new", "[SEP]"]
    assert both.tokens(["red mug"]) == head.tokens(["red mug"])
    assert both.fingerprint != head.fingerprint


def test_prompts_are_said_before_documents_and_queries(model_folder: Folder, tmp_path: Path) -> None:
    folder = model_folder(save_bert)
    plain = TextEncoder.of(EncoderConfig(text_model=str(folder)))
    encoder = TextEncoder.of(EncoderConfig(text_model=str(folder), document_prompt="passage: ", query_prompt="query: "))
    np.testing.assert_allclose(encoder.encode(["red mug"]), plain.encode(["passage: red mug"]), atol=1e-6)
    np.testing.assert_allclose(encoder.encode(["red mug"], "query"), plain.encode(["query: red mug"]), atol=1e-6)
    assert np.abs(encoder.encode(["red mug"]) - encoder.encode(["red mug"], "query")).max() > 1e-3


def test_prompts_pooling_and_length_are_taken_from_the_folder_unless_set(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_bert(tmp_path)
    prompts = {"prompts": {"query": "query : ", "document": "passage : "}, "default_prompt_name": None}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Normalize")]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "lasttoken"}))
    encoder = TextEncoder.of(EncoderConfig(text_model=str(tmp_path)))
    assert (encoder.prompt("document"), encoder.prompt("query")) == ("passage : ", "query : ")
    assert encoder.normalization == "unit"
    given = encoder.encode(["red mug"])
    expected = alone(tmp_path, "passage : red mug")[-1]
    np.testing.assert_allclose(given[0], expected / np.linalg.norm(expected), atol=1e-5)
    silent = TextEncoder.of(EncoderConfig(text_model=str(tmp_path), document_prompt="", text_pooling="cls"))
    expected = alone(tmp_path, "red mug")[0]
    np.testing.assert_allclose(silent.encode(["red mug"])[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_prompts_that_do_not_count_in_the_pooling_are_refused(tmp_path: Path) -> None:
    save_bert(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean", "include_prompt": False}))
    assert not statement_of(tmp_path).pools_prompt
    assert TextEncoder.of(EncoderConfig(text_model=str(tmp_path))).encode(["red"]).shape == (1, 16)
    with pytest.raises(InputError, match="must pool its prompts too"):
        TextEncoder.of(EncoderConfig(text_model=str(tmp_path), query_prompt="query: ")).encode(["red"])


@pytest.mark.parametrize(
    "changed",
    [
        {"text_pooling": "cls"},
        {"document_prompt": "x "},
        {"query_prompt": "x "},
        {"truncation": "head+tail"},
        {"max_tokens": 9},
    ],
)
def test_the_fingerprint_changes_with_every_setting_that_changes_vectors(
    model_folder: Folder, changed: dict[str, Any]
) -> None:
    plain = EncoderConfig(text_model=str(model_folder(save_bert)))
    other = EncoderConfig(text_model=plain.text_model, **changed)
    assert TextEncoder.of(other).fingerprint != TextEncoder.of(plain).fingerprint


def test_how_fast_it_runs_does_not_change_the_fingerprint(model_folder: Folder) -> None:
    plain = EncoderConfig(text_model=str(model_folder(save_bert)))
    other = EncoderConfig(text_model=plain.text_model, engine="onnx", text_tokens=64, threads=2, download=True)
    assert TextEncoder.of(other).fingerprint == TextEncoder.of(plain).fingerprint


def test_a_text_without_a_single_token_is_nothing_and_no_error(tmp_path: Path) -> None:
    save_gpt2(tmp_path)
    encoder = TextEncoder.of(EncoderConfig(text_model=str(tmp_path)))
    silent, spoken = encoder.encode(["\u200b\u00ad", "red"])
    assert not silent.any()
    np.testing.assert_allclose(spoken, alone(tmp_path, "red")[-1], atol=1e-5)


def test_a_checkpoint_that_lacks_weights_is_refused_instead_of_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_bert(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("encoder.layer.1.output.dense.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 of them: encoder\.layer\.1\.output\.dense\.weight"):
        TextEncoder.of(EncoderConfig(text_model=str(tmp_path))).encode(["red"])


def test_code_in_a_model_folder_is_never_run(tmp_path: Path) -> None:
    save_bert(tmp_path)
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')\n")
    config = {"model_type": "unheard-of", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="text_model cannot be read"):
        TextEncoder.of(EncoderConfig(text_model=str(tmp_path))).encode(["red"])
    assert not (tmp_path / "was run").exists()
