"""How the fine match model is built and how it learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from features.encoders.config import Tuning
from features.encoders.local import LocalConfig
from features.encoders.scenes import STRIDE
from features.encoders.tuning import Extent
from features.pictures.augment import AugmentConfig
from features.section import Section

Learning = Literal["alignment", "sequential", "joint"]
Architecture = Literal["two_tower", "co_attention"]
Share = Annotated[float, Field(ge=0, le=1)]


class LossWeights(Section):
    """What is added up to one loss; a loss of weight 0 is not computed."""

    contrastive: NonNegativeFloat = 1.0
    """InfoNCE over the batch, both ways (van den Oord et al., 2018); the match loss of the towers."""

    triplet: NonNegativeFloat = 0.0
    """Margin to the hardest foreign listing of the batch, both ways (VSE++, Faghri et al., 2018)."""

    consistency: NonNegativeFloat = 0.0
    """Listings that are alike in words are to be alike in pictures, and the other way round (as in CyCLIP, Goel et al.,
    2022)."""

    text: NonNegativeFloat = 0.2
    """Telling the shop's attributes from the words."""

    image: NonNegativeFloat = 0.2
    """Telling the shop's attributes from the picture."""

    match: NonNegativeFloat = 1.0
    """Telling a listing's own picture from foreign ones by the fusion network."""

    relevance: NonNegativeFloat = 0.0
    """Binary cross-entropy on the labeled pairs of the shop (`pairs.*`)."""

    adversarial: NonNegativeFloat = 0.0
    """InfoNCE again, with word embeddings and picture descriptions pushed the worst way (FGM, Miyato et al., 2017)."""

    unlabeled: NonNegativeFloat = 0.0
    """Semi-supervised: words alone and pictures alone are pulled to the mixture of listings that a slower copy of the
    towers finds for them where it is sure (as in FixMatch, Sohn et al., 2020)."""


class PixelConfig(Section):
    """Networks of their own that tell attributes from pixels, beside the heads on scenes. Each is the bundled network,
    all of it trained: minutes on a GPU, hours on a core.
    """

    members: Annotated[int, Field(ge=0, le=16)] = 0
    """Networks trained from different seeds, whose probabilities are averaged; 0 leaves attributes to the heads."""

    height: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 128
    """Pixels from top to bottom that the networks see, made from those of `local`."""

    width: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 96
    """Pixels from left to right."""

    epochs: PositiveInt = 30
    """Passes over the listings."""

    batch: Annotated[int, Field(ge=4)] = 128
    """Listings in a batch."""

    learning_rate: PositiveFloat = 1e-3
    """Of AdamW for what is new, at its highest: it rises over the first tenth and falls along a cosine."""

    encoder_learning_rate: PositiveFloat = 3e-4
    """Likewise, of the bundled network."""

    weight_decay: NonNegativeFloat = 0.05
    """Of AdamW, on what is new."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of what the heads see dropped in training."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Label smoothing."""

    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Weight of the past in the moving average of the parameters that is kept in the end."""

    augment: AugmentConfig = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0, blur=0.0)
    """What happens to pictures in training; colors stay, as they are among what is to be told."""


class KernelConfig(Section):
    """Attributes told by comparison with remembered listings, beside the heads on scenes."""

    listings: Annotated[int, Field(ge=0)] = 6000
    """Listings that are remembered, at most; time grows with their cube, memory with their square. 0 leaves attributes
    to the heads."""

    sample: Annotated[int, Field(ge=24)] = 1200
    """On so many of these it is learned what makes listings alike."""

    steps: PositiveInt = 25
    """Steps of that."""


class FineConfig(Section):
    """The fine match model; the defaults suit shops of a thousand to a hundred thousand listings."""

    learning: Learning = "alignment"
    """"alignment": a space that words and pictures share, and with co-attention the fusion beside it (ALBEF, Li et al.,
    2021). "sequential": the space first, then the fusion on towers that stay. "joint": one network over both, trained
    by the match loss alone."""

    architecture: Architecture = "two_tower"
    """"two_tower": each listing's words and picture become one vector each; a fusion, if any, reads these two.
    "co_attention": the fusion lets words look at patches and patches at words."""

    local: LocalConfig = LocalConfig()
    """How closely words and pictures are read."""

    tuning: Tuning = "frozen"
    """What of the picture network is trained too: nothing; its last blocks; low-rank additions to its linear layers and
    1 x 1 convolutions ("adapters", LoRA, Hu et al., 2022); all of it ("full"). Anything but "frozen" runs the network
    over every picture in every epoch."""

    text_tuning: Tuning = "frozen"
    """Likewise, of the sentence encoder, which then reads every text in every epoch."""

    blocks: PositiveInt = 2
    """How many blocks (layers of a transformer, stages of the bundled picture network) "last_blocks" are."""

    rank: PositiveInt = 8
    """Of the low-rank additions."""

    augment: AugmentConfig | None = None
    """What happens to the pictures of an epoch where the picture network is tuned; None: nothing."""

    pixels: PixelConfig = PixelConfig()
    """Networks of their own for attributes."""

    kernel: KernelConfig = KernelConfig()
    """Remembered listings for attributes."""

    dim: PositiveInt = 256
    """Length of a vector in the shared space."""

    hidden: PositiveInt = 512
    """Width of the towers' hidden layers."""

    word_dim: PositiveInt = 256
    """Length of a word's own vector."""

    word_count: PositiveInt = 2
    """Words in fewer listings than this are known by the sentence encoder alone."""

    heads: PositiveInt = 4
    """Of the co-attention."""

    attention_dim: Annotated[int, Field(multiple_of=8)] = 128
    """Width of the co-attention; a multiple of `heads`."""

    candidates: Annotated[int, Field(ge=1)] = 4
    """Foreign listings that the fusion must tell from the own one, each way: the hardest of the batch by the towers."""

    rerank: PositiveInt = 50
    """A search is ordered again by the fusion down to this place."""

    members: Annotated[int, Field(ge=1, le=16)] = 3
    """Towers trained from different seeds and used as one: their vectors stand side by side."""

    losses: LossWeights = LossWeights()
    """What is learned."""

    class_weights: Share = 0.0
    """How far rare attribute values count more: 0 as often as they come, 1 all values alike."""

    oversampling: Share = 0.0
    """How far listings of rare first attribute values are drawn more often: 0 never, 1 all values alike."""

    margin: PositiveFloat = 0.2
    """Of the triplet loss, a difference of cosines."""

    radius: PositiveFloat = 0.5
    """Length of the adversarial push, as a share of the input's own length."""

    epochs: PositiveInt = 40
    """Passes over the pairs."""

    fusion_epochs: PositiveInt = 8
    """Passes of the fusion over the pairs, where it is trained on towers that stay."""

    patience: PositiveInt = 12
    """Training stops when the validation rank has not improved for so many epochs."""

    batch: Annotated[int, Field(ge=4)] = 1024
    """Pairs in a batch."""

    learning_rate: PositiveFloat = 1e-3
    """Of AdamW, at its highest: it rises over the first tenth and falls along a cosine."""

    word_learning_rate: PositiveFloat = 3e-3
    """Likewise, of the words' own vectors."""

    encoder_learning_rate: PositiveFloat = 1e-4
    """Likewise, of what is tuned of the networks."""

    weight_decay: NonNegativeFloat = 0.1
    """Of AdamW."""

    image_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of picture inputs and hidden units dropped in training."""

    text_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of text inputs and hidden units dropped in training."""

    word_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of words dropped in training."""

    noise: NonNegativeFloat = 0.1
    """Standard deviation of the noise on standardized inputs in training."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing of the contrastive loss."""

    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight of the past in the moving average of the parameters that is kept in the end; 0 keeps the last ones."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products in training. "auto": bfloat16 where the machine multiplies it faster."""

    prior: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Share of listings supposed to carry the right picture, before it is looked at."""

    max_pairs: PositiveInt = 50_000
    """Larger shops are learned from a random sample of this many pairs."""

    @model_validator(mode="after")
    def _seen(self) -> FineConfig:
        if self.augment is not None and self.tuning == "frozen":
            raise ValueError("augment must be left out where tuning is 'frozen': pictures are then described only once")
        return self

    @property
    def image_extent(self) -> Extent:
        """How far the picture network is tuned."""
        return Extent(self.tuning, self.blocks, self.rank)

    @property
    def text_extent(self) -> Extent:
        """How far the sentence encoder is tuned."""
        return Extent(self.text_tuning, self.blocks, self.rank)

    @property
    def needs_pixels(self) -> bool:
        """Whether pictures are read as they are, beside their descriptions."""
        return self.tuning != "frozen" or self.pixels.members > 0

    @property
    def needs_ids(self) -> bool:
        """Whether words are read as the sentence encoder takes them, beside its vectors."""
        return self.text_tuning != "frozen"
