"""Training the sentence encoder along: that it learns what no frozen one can tell, and what moves, stays and is kept.

The encoder is a small Llama whose layers add nothing at first (their last matrices are zero), so that a sentence is the
mean of its tokens' vectors: it holds which words there are and not which comes first. The picture shows the first.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from features.encoders import models
from features.encoders.catalog import encode_texts
from features.encoders.config import EncoderConfig
from features.encoders.local import LocalConfig, Pictures
from features.encoders.text import TextEncoder
from features.encoders.tuning import TEXT_FILE, Extent
from features.errors import InputError
from features.match.fine.config import FineConfig, LossWeights
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import fit_fine
from features.match.fine.labels import Label
from features.match.fine.model import FineModel
from features.match.fine.tuning import TunedSentences
from features.match.fine.views import Listings, token_ids
from tests.features.cut_off import CutOff
from tests.features.text_models import Folder, save_bert, save_gpt2, save_llama, save_roberta, save_t5
from tests.features.vision_models import save_clip

COLORS, FILLERS = ("red", "blue", "green"), ("", "the ", "very ", "a ")
TEXTS = [
    f"{filler}{a} of {b} {kind}" for filler in FILLERS for a, b in permutations(COLORS, 2) for kind in ("mug", "shoe")
]
FIRST = np.array([COLORS.index(next(word for word in text.split() if word in COLORS)) for text in TEXTS])
ROWS = np.arange(len(TEXTS))
HELD = ROWS % 4 == 1
EXTENT = {"blocks": 1, "rank": 4}
TINY = FineConfig(
    dim=8,
    hidden=16,
    word_dim=8,
    members=1,
    epochs=40,
    patience=40,
    batch=18,
    learning_rate=5e-3,
    encoder_learning_rate=3e-2,
    text_dropout=0.0,
    image_dropout=0.0,
    word_dropout=0.0,
    precision="float32",
    local=LocalConfig(tokens=6),
    losses=LossWeights(text=1.0),
    **EXTENT,
)


def save_deaf_llama(folder: Path) -> None:
    """Its layers hear the words' order, and say nothing of it."""
    save_llama(folder)
    model = models.transformers().LlamaForCausalLM.from_pretrained(folder)
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        for one in ("q_proj", "k_proj", "v_proj"):
            torch.nn.init.normal_(getattr(layer.self_attn, one).weight, std=0.5)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    model.save_pretrained(folder)


@pytest.fixture
def encoders(model_folder: Folder) -> EncoderConfig:
    return EncoderConfig(text_model=str(model_folder(save_deaf_llama)), text_pooling="mean", engine="torch")


@pytest.fixture
def listings(encoders: EncoderConfig, tmp_path: Path) -> Listings:
    encoder = TextEncoder.of(encoders)
    sentence = encode_texts(TEXTS, encoder, config=encoders, cache_dir=tmp_path / "cache").vectors
    scene = 2 * np.eye(3)[FIRST] @ np.eye(3, 6) + 0.1 * np.random.default_rng(0).normal(size=(len(TEXTS), 6))
    content = [f"{row:016x}" for row in ROWS]
    empty = np.zeros((len(TEXTS), 0, 0), np.float16)
    pictures = Pictures(scene.astype(np.float16), empty, np.ones(len(TEXTS), dtype=bool), content)
    return Listings(TEXTS, sentence, pictures, None, token_ids(TEXTS, encoder))


def fitted(
    listings: Listings, encoders: EncoderConfig, checkpoints: Path | None = None, **changes: object
) -> FineModel:
    config = TINY.model_copy(update=changes)
    label = Label("first", COLORS, FIRST)
    rows = (ROWS[~HELD], ROWS[HELD])
    return fit_fine(listings, (label,), *rows, config, seed=0, encoders=encoders, checkpoints=checkpoints)


def right(model: FineModel, listings: Listings) -> float:
    """Share of held-out texts of which the first color is told."""
    told = model.told(model.views(listings, ROWS[HELD]), of="text")[0]
    return float((told.argmax(1) == FIRST[HELD]).mean())


def weights(folder: str) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / "model.safetensors")


def test_a_frozen_encoder_cannot_tell_which_word_comes_first(listings: Listings, encoders: EncoderConfig) -> None:
    model = fitted(listings, encoders)
    assert right(model, listings) < 0.75  # the two colors are known, so a guess is right half the time
    assert model.members[0].sentences is None
    assert not any(name.startswith("sentences") for name in model.members[0].state_dict())


@pytest.mark.parametrize("how", ["last_blocks", "adapters", "full"])
def test_a_tuned_one_can_and_moves_only_what_it_may(
    listings: Listings, encoders: EncoderConfig, how: str, tmp_path: Path
) -> None:
    model = fitted(listings, encoders, text_tuning=how)
    assert right(model, listings) > 0.95
    tuned = model.members[0].sentences
    assert tuned is not None
    given = weights(encoders.text_model)
    now = {
        name.removeprefix("model.").replace(".base.", "."): value for name, value in tuned.encoder.state_dict().items()
    }
    moved = {
        name for name, value in given.items() if not torch.equal(value, now.get(name.removeprefix("model."), value))
    }
    if how == "adapters":
        assert not moved
    elif how == "last_blocks":
        assert "model.layers.1.self_attn.o_proj.weight" in moved
        assert moved <= {name for name in given if name.startswith(("model.layers.1.", "model.norm."))}
    else:
        assert {"model.embed_tokens.weight", "model.layers.0.self_attn.o_proj.weight"} <= moved
    save_model(model, tmp_path)
    kept = load_file(tmp_path / TEXT_FILE)
    assert {name.rpartition(".")[2] for name in kept} == ({"up", "down"} if how == "adapters" else {"weight"})
    assert not any("sentences" in name for name in load_file(tmp_path / "model.safetensors"))
    views = model.views(listings)
    for a, b in zip(model.embed(views), load_model(tmp_path).embed(views), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("save", [save_bert, save_roberta, save_gpt2, save_llama, save_t5])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_before_any_step_a_sentence_is_the_frozen_ones_with_adapters_too(
    model_folder: Folder, save: Callable[[Path], None], pooling: str, tmp_path: Path
) -> None:
    config = EncoderConfig(text_model=str(model_folder(save)), text_pooling=pooling, engine="torch")
    encoder = TextEncoder.of(config)
    texts = [*TEXTS[:5], " ", "the very small blue mug"]
    expected = encode_texts(texts, encoder, config=config, cache_dir=tmp_path).vectors
    tuned = TunedSentences(config, Extent("adapters", 1, 2), 4).train()
    sentence, states = tuned(torch.from_numpy(token_ids(texts, encoder)))
    np.testing.assert_allclose(sentence.detach().numpy(), expected, atol=1e-5)
    assert not expected[5].any()
    assert states.shape == (7, 4, 16)
    grown = [name for name, parameter in tuned.named_parameters() if parameter.requires_grad]
    assert len(grown) >= 16  # an up and a down beside each linear layer, transformers' Conv1D among them
    assert all(name.endswith((".up", ".down")) for name in grown)


def test_a_run_that_was_cut_off_goes_on_to_the_same_numbers(
    listings: Listings, encoders: EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"text_tuning": "adapters", "epochs": 4, "averaging": 0.5}
    whole = fitted(listings, encoders, **changes)
    CutOff(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fitted(listings, encoders, tmp_path, **changes)
    (checkpoint,) = tmp_path.rglob("*.safetensors")
    assert not any("base" in name or "embed_tokens" in name for name in load_file(checkpoint))
    resumed = fitted(listings, encoders, tmp_path, **changes)
    for a, b in zip(whole.members[0].state_dict().values(), resumed.members[0].state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_encoders_take_what_a_match_model_has_learned_and_keep_it_apart(
    listings: Listings, encoders: EncoderConfig, model_folder: Folder, tmp_path: Path
) -> None:
    model = fitted(listings, encoders, text_tuning="full", epochs=3)
    save_model(model, tmp_path / "model")
    config = encoders.model_copy(update={"tuned": str(tmp_path / "model")})
    plain, tuned = TextEncoder.of(encoders), TextEncoder.of(config)
    assert tuned.fingerprint != plain.fingerprint
    assert tuned.space != plain.space
    vectors = encode_texts(TEXTS, tuned, config=config, cache_dir=tmp_path / "cache").vectors
    network = model.members[0].sentences
    assert network is not None
    with torch.inference_mode():
        np.testing.assert_allclose(vectors, network(torch.from_numpy(token_ids(TEXTS, plain)))[0].numpy(), atol=1e-5)
    assert np.abs(vectors - listings.sentence).max() > 0.01
    other = config.model_copy(update={"text_model": str(model_folder(save_bert))})
    with pytest.raises(InputError, match="must tune the weights that it began with"):
        TextEncoder.of(other).encode(["red"])
    with pytest.raises(InputError, match=r"tuned must be a match model's folder with text_network\.safetensors or"):
        TextEncoder.of(encoders.model_copy(update={"tuned": str(tmp_path)}))


def test_what_cannot_be_tuned_is_told(encoders: EncoderConfig, model_folder: Folder) -> None:
    with pytest.raises(InputError, match=r"model\.blocks must be at most 2, as the network has, got 3"):
        TunedSentences(encoders, Extent("last_blocks", 3, 2), 4)
    clip = EncoderConfig(text_model=str(model_folder(save_clip)))
    with pytest.raises(InputError, match="a text model that is tuned must not be a joint one"):
        TunedSentences(clip, Extent("full", 1, 2), 4)
