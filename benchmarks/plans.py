"""What `table.py` trains: the rows of the papers and of our own recipe, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from espressivo.configs import ModelConfig, TransformerConfig


@dataclass(frozen=True)
class Row:
    """One model of a table: a preset, the paper's figure, and what each budget changes.

    `published` is validation nats per token in table 3 of Huang et al. 2018, where it has one.
    """

    name: str
    preset: str
    published: float | None = None
    small: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Budget:
    """How large and how long: the same number of tokens for every row.

    `pieces` of each split are judged, evenly spread, in windows of as many tokens as were trained.
    """

    name: str
    tokens: int
    pieces: int | None
    training: tuple[str, ...]
    transformer: tuple[str, ...] = ()
    lstm: tuple[str, ...] = ()

    def settings(self, row: Row, model: ModelConfig) -> list[str]:
        """Give the settings that fit a row's preset into this budget."""
        sizes = self.transformer if isinstance(model, TransformerConfig) else self.lstm
        own = row.small if self is not FULL else ()
        return [*self.training, *sizes, *row.settings, *own]


SMALL = Budget(
    name="small",
    tokens=500_000,
    pieces=8,
    training=(
        "training.batch=2",
        "training.length=512",
        "training.optimizer=adamw",
        "training.learning_rate=2e-3",
        "training.schedule=linear",
        "training.warmup=50",
        "training.betas=0.9,0.98",
        "training.clip_norm=1",
        "training.patience=0",
        "training.precision=float32",
        "training.compile=false",
        "training.evaluation_length=512",
        "training.evaluation_windows=32",
    ),
    transformer=(
        "model.layers=2",
        "model.width=128",
        "model.attention=256",
        "model.feed_forward=512",
        "model.heads=4",
        "model.reach=256",
        "model.context=512",
        "model.dropout=0",
    ),
    lstm=("model.layers=2", "model.width=192", "training.learning_rate=3e-3"),
)
"""Minutes of one processor core per row: the order of the models, not their figures."""

MEDIUM = replace(
    SMALL,
    name="medium",
    tokens=2_000_000,
    training=(*SMALL.training, "training.batch=4", "training.precision=bfloat16"),
)
"""The same models with four times the tokens, for a processor that multiplies in bfloat16."""

FULL = Budget(
    name="full",
    tokens=400_000_000,
    pieces=None,
    training=("training.precision=bfloat16", "training.compile=true", "training.batch=16"),
)
"""The paper's sizes on a GPU."""

BUDGETS = {budget.name: budget for budget in (SMALL, MEDIUM, FULL)}

LOCAL = ("model.patterns=blocks:128",)

OURS = (
    "training.optimizer=muon",
    "training.learning_rate=2e-3",
    "training.matrix_learning_rate=0.02",
    "training.betas=0.9,0.95",
    "training.ema=0.99",
)
"""What the recipe keeps of its own at a small size; dropout is for repeated data only."""

PAPERS = (
    Row("lstm", "lstm-1024", 1.969),
    Row("lstm-attention", "lstm-attention-1024", 1.959, small=("model.look_back=64",)),
    Row("baseline", "music-transformer-baseline", 1.861),
    Row("local", "music-transformer-local", 1.863, small=LOCAL),
    Row("relative", "music-transformer", 1.835),
    Row("relative-local", "music-transformer-relative-local", 1.840, small=LOCAL),
    Row("espressivo", "espressivo-25m", small=OURS),
)


def without(name: str, *settings: str) -> Row:
    """Give the recipe with one choice replaced."""
    return Row(name, "espressivo-25m", small=(*OURS, *settings))


RECIPE = (
    Row("espressivo", "espressivo-25m", small=OURS),
    without("learned distances for waves", "model.position=relative"),
    without("rotary for waves", "model.position=rotary"),
    without("ALiBi for waves", "model.position=alibi"),
    without("sinusoids added", "model.sinusoids=added"),
    without("without QK-norm", "model.qk_norm=false"),
    without("squared ReLU", "model.activation=relu2"),
    without("AdamW for Muon", "training.optimizer=adamw"),
    without("no short windows first", "training.short=0"),
    without("cosine for linear", "training.schedule=cosine"),
    without("no weight decay", "training.weight_decay=0"),
    without("dropout 0.1", "model.dropout=0.1"),
    without(
        "no augmentation", "training.augmentation.transpose=0", "training.augmentation.stretch=1"
    ),
    without("no average of weights", "training.ema=0"),
)

PLANS = {"papers": PAPERS, "recipe": RECIPE}
