"""One function per published system, and on every line where its number comes from.

What differs from the paper is listed under `deviations`. Every preset has a `-tiny` twin that
trains on a laptop in minutes.
"""

from __future__ import annotations

from collections.abc import Callable

from espressivo.codecs import CODECS
from espressivo.configs import TransformerConfig
from espressivo.presets.accompaniment import ACCOMPANISTS, espressivo_accompaniment
from espressivo.presets.music_transformer import TRANSFORMERS
from espressivo.presets.note_level import note_transformer
from espressivo.presets.performance_rnn import BY_PITCH, RECURRENT
from espressivo.presets.preset import Preset
from espressivo.presets.recipes import espressivo_25m, espressivo_85m
from espressivo.presets.twins import with_twins
from espressivo.training.config import TrainingConfig


def espressivo_transformer() -> Preset:
    """The bundled transformer: what one processor core trains in little more than an hour.

    Distances are told by waves, which at small budgets learn far sooner than a vector for each
    (docs/recipe.md). The pedal has events of its own: folded into the notes, a model this small
    loses it (docs/takes.md). Density and pitch classes may be asked for. Seven tenths of the
    steps are on windows of 512 tokens, the rest on 2048.
    """
    return Preset(
        name="espressivo-transformer",
        source="this project: Music Transformer with distances told by waves, made for two cores; "
        "Muon is of Jordan et al. 2024, QK-norm of Henry et al. 2020",
        codec=CODECS["performance-rnn-pedal"],
        model=TransformerConfig(
            layers=6,
            width=192,
            attention=192,
            feed_forward=768,
            heads=3,
            position="fourier",
            frequencies=16,
            reach=1024,
            context=2048,
            sinusoids="none",
            qk_norm=True,
            dropout=0.0,
            controls=("notes-per-second", "pitch-class-histogram"),
        ),
        training=TrainingConfig(
            steps=4000,
            batch=2,
            length=2048,
            short=0.7,
            optimizer="muon",
            learning_rate=2e-3,
            matrix_learning_rate=0.02,
            schedule="linear",
            warmup=100,
            betas=(0.9, 0.95),
            ema=0.998,
            weight_decay=0.1,
            precision="bfloat16",
            evaluate_every=500,
            save_every=250,
            evaluation_windows=24,
            evaluation_length=2048,
        ),
        deviations=(BY_PITCH, "no paper has these sizes or this training"),
    )


PRESETS: dict[str, Callable[[], Preset]] = {
    **with_twins(RECURRENT | TRANSFORMERS | ACCOMPANISTS),
    "espressivo-transformer": espressivo_transformer,
    "espressivo-accompaniment": espressivo_accompaniment,
    **with_twins({"note-transformer": note_transformer}),
    **with_twins({"espressivo-25m": espressivo_25m, "espressivo-85m": espressivo_85m}),
}
