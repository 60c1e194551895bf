"""Our note-level model: an event is a note or a pedal change, and has several fields."""

from __future__ import annotations

from espressivo.codecs import EVENT_CODECS
from espressivo.configs import NoteTransformerConfig
from espressivo.corpora import Augmentation
from espressivo.presets.preset import Preset
from espressivo.training.config import TrainingConfig


def note_transformer() -> Preset:
    """The model that is to become the default: 17 million parameters."""
    codec = EVENT_CODECS["note-events"]
    return Preset(
        name="note-transformer",
        source="this project, after Hsiao et al. 2021 (events of several fields) and "
        "Huang et al. 2018; each choice is measured in docs/scaling.md",
        codec=codec,
        model=NoteTransformerConfig(
            classes=codec.sizes,
            controls=(
                "notes-per-second",
                "pitch-class-histogram",
                "mean-velocity",
                "pedal-share",
                "key",
            ),
            sources=("human", "transcribed", "roll"),
        ),
        training=TrainingConfig(
            steps=20_000,
            batch=4,
            length=512,
            grow=(1_000, 4_000),
            optimizer="muon",  # Jordan et al. 2024
            learning_rate=2e-3,
            matrix_learning_rate=0.02,
            schedule="linear",
            warmup=100,
            betas=(0.9, 0.95),
            eps=1e-8,
            weight_decay=0.1,
            ema=0.998,
            precision="bfloat16",
            evaluate_every=500,
            save_every=250,
            evaluation_windows=48,
            evaluation_length=512,
            augmentation=Augmentation(
                transpose=6,
                stretch=(0.9, 0.925, 0.95, 0.975, 1.0, 1.025, 1.05, 1.075, 1.1),
                velocity=4,
                curve=1.2,
            ),
        ),
        deviations=("no paper has this model",),
    )
