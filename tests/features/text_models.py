"""Folders of small text models of `transformers`, with random weights and a tokenizer of few words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

from features.encoders import models

WORDS = ["red", "blue", "green", "shoe", "mug", "chair", "the", "a", "of", "and", "very"]
WORDS += ["small", "large", "old", "new", "passage", ":", "query"]
CHINESE = "红色的鞋子蓝大小杯椅新旧很"


def tokenizer_of(special: tuple[str, ...], *, ends: bool, side: str = "right") -> Any:
    """Words and Chinese characters as tokens; with `ends`, [CLS] before and [SEP] after."""
    names = [*special, *WORDS, *CHINESE]
    core = Tokenizer(WordLevel({name: row for row, name in enumerate(dict.fromkeys(names))}, unk_token=special[1]))
    core.normalizer = normalizers.BertNormalizer(handle_chinese_chars=True, lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    options: dict[str, Any] = {"pad_token": special[0], "unk_token": special[1]}
    if ends:
        core.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        options |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    library = models.transformers()
    return library.PreTrainedTokenizerFast(
        tokenizer_object=core,
        padding_side=side,
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
        **options,
    )


BERT_ENDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save_bert(folder: Path) -> None:
    library = models.transformers()
    config = library.BertConfig(vocab_size=64, max_position_embeddings=40, **SMALL)
    library.BertModel(config).eval().save_pretrained(folder)
    tokenizer_of(BERT_ENDS, ends=True).save_pretrained(folder)


def save_roberta(folder: Path) -> None:
    library = models.transformers()
    config = library.XLMRobertaConfig(vocab_size=64, max_position_embeddings=22, pad_token_id=0, **SMALL)
    library.XLMRobertaModel(config).eval().save_pretrained(folder)
    tokenizer_of(BERT_ENDS, ends=True).save_pretrained(folder)


def save_gpt2(folder: Path) -> None:
    library = models.transformers()
    config = library.GPT2Config(vocab_size=64, n_positions=40, n_embd=16, n_layer=2, n_head=2)
    library.GPT2LMHeadModel(config).eval().save_pretrained(folder)
    tokenizer_of(("<pad>", "<unk>"), ends=False, side="left").save_pretrained(folder)


def save_llama(folder: Path) -> None:
    library = models.transformers()
    config = library.LlamaConfig(vocab_size=64, max_position_embeddings=40, num_key_value_heads=2, **SMALL)
    library.LlamaForCausalLM(config).eval().save_pretrained(folder)
    tokenizer_of(("<pad>", "<unk>"), ends=False, side="right").save_pretrained(folder)


def save_t5(folder: Path) -> None:
    library = models.transformers()
    config = library.T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    library.T5Model(config).eval().save_pretrained(folder)
    tokenizer_of(("<pad>", "<unk>"), ends=False).save_pretrained(folder)


Folder = Callable[[Callable[[Path], None]], Path]
