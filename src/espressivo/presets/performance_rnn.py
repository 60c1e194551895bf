"""The recurrent networks: Performance RNN in its configurations, and what became of it.

Of Magenta's nine configurations `performance_with_dynamics_compact` is missing: it is the model of
`performance-rnn`, and differs in how its training data is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espressivo.codecs import CODECS
from espressivo.configs import AttentionLstmConfig, LstmConfig, NoteLstmConfig
from espressivo.corpora import Augmentation
from espressivo.presets.preset import Preset
from espressivo.training.config import TrainingConfig

ANY_NOTE = (
    "windows begin at any note of a piece; the original cuts pieces every 30 seconds and keeps "
    "the first 512 events of each cut"
)
BY_PITCH = (
    "notes struck within one step are told from the lowest to the highest, not in the order "
    "played, which spares the model up to 0.034 nats per token"
)


def performance_rnn() -> Preset:
    """Simon and Oore 2017, with dynamics: 388 events, an LSTM of 3 x 512."""
    return Preset(
        name="performance-rnn",
        source="Magenta's released configuration performance_with_dynamics (Simon and Oore 2017); "
        "its _compact twin is the same network, fed from smaller files",
        codec=CODECS["performance-rnn"],  # 10 ms x 100, 32 velocities: performance_lib
        model=LstmConfig(layers=3, width=512, dropout=0.0),  # rnn_layer_sizes, dropout_keep_prob
        training=TrainingConfig(
            steps=50_000,
            batch=64,  # batch_size
            length=512,  # max_num_events of the pipeline
            optimizer="adamw",  # without decay: Adam
            learning_rate=1e-3,  # learning_rate
            schedule="constant",
            warmup=0,
            betas=(0.9, 0.999),  # TensorFlow's defaults
            eps=1e-8,
            clip_norm=3.0,  # clip_norm
            evaluate_every=500,
            save_every=500,
            evaluation_windows=64,
            augmentation=Augmentation(
                transpose=3,  # performance_pipeline, where a comment says major third
                stretch=(0.95, 0.975, 1.0, 1.025, 1.05),  # performance_pipeline
            ),
        ),
        deviations=(
            ANY_NOTE,
            BY_PITCH,
            "training stops after 50,000 steps and keeps the best on validation; "
            "the original goes on until stopped",
            "cells have two biases where the original has one: 6,144 parameters more",
        ),
    )


def oore2018() -> Preset:
    """Oore et al. 2018: 413 events on a grid of 8 ms, an LSTM of 3 x 512."""
    like = performance_rnn()
    return replace(
        like,
        name="oore2018",
        source="Oore et al. 2018, This Time with Feeling (arXiv 1808.03715)",
        codec=CODECS["oore2018"],  # 8 ms x 125, 32 velocities
        training=replace(
            like.training,
            augmentation=Augmentation(transpose=4, stretch=like.training.augmentation.stretch),
        ),
        deviations=(
            *like.deviations,
            "optimiser, learning rate, batch, clipping and length are those of Performance RNN: "
            "the paper's own were not found",
            "augmentation is the milder of two regimes, as a re-implementation gives it, and draws "
            "transposition and stretching together where that one draws either",
        ),
    )


def oore2018_pedal() -> Preset:
    """The same with the pedal as two events of its own: 415 events."""
    like = oore2018()
    return replace(
        like,
        name="oore2018-pedal",
        source="re-implementations of Oore et al. 2018 that keep the pedal",
        codec=CODECS["oore2018-pedal"],
        deviations=(*like.deviations, "the pedal knows up and down only"),
    )


def performance_rnn_plain() -> Preset:
    """Performance RNN without dynamics: 356 events."""
    return replace(
        performance_rnn(),
        name="performance-rnn-plain",
        source="Magenta's released configuration performance (Simon and Oore 2017)",
        codec=CODECS["performance-rnn-plain"],
    )


def performance_rnn_modulo() -> Preset:
    """Performance RNN with events shown as places on circles: 16 numbers in, 388 events out."""
    return replace(
        performance_rnn(),
        name="performance-rnn-modulo",
        source="Magenta's released configuration performance_with_dynamics_and_modulo_encoding",
        model=LstmConfig(layers=3, width=512, dropout=0.0, inputs="modulo"),
    )


def performance_rnn_notes() -> Preset:
    """Performance RNN over whole notes: 315 ids, six predictions at once."""
    like = performance_rnn()
    return replace(
        like,
        name="performance-rnn-notes",
        source="Magenta's configuration performance_with_dynamics_and_note_encoding",
        codec=CODECS["note-tuple"],  # 10 ms; waits and durations up to 10 s
        model=NoteLstmConfig(layers=3, width=512, dropout=0.0),
        training=replace(like.training, length=6 * 512),  # 512 notes, max_num_events
        deviations=(
            *like.deviations,
            "a wait or a note of more than 10 seconds is cut to that; the original leaves out "
            "performances that have one",
            "a piece begins from a start token, which is no note",
        ),
    )


def lstm_1024() -> Preset:
    """The LSTM that Huang et al. 2018 compare with: 3 x 1024, windows of 2048 events."""
    like = performance_rnn()
    return replace(
        like,
        name="lstm-1024",
        source="Huang et al. 2018 (arXiv 1809.04281v3), table 3: Performance RNN (LSTM)",
        model=LstmConfig(layers=3, width=1024, dropout=0.0),  # table 3
        training=replace(
            like.training,
            batch=16,  # as many tokens as Performance RNN's 64 x 512
            length=2048,  # table 3, L
            patience=30,  # the paper stops early; when, it does not say
        ),
        deviations=(
            "windows begin at any note, where the original crops at any token",
            BY_PITCH,
            "optimiser, learning rate, tokens of a step and clipping are those of Performance RNN: "
            "the paper gives none for its LSTMs",
            "cells have two biases where the original has one: 12,288 parameters more",
        ),
    )


def lstm_attention_1024() -> Preset:
    """The same looking back: LSTM with attention."""
    like = lstm_1024()
    return replace(
        like,
        name="lstm-attention-1024",
        source="Huang et al. 2018 (arXiv 1809.04281v3), table 3: LSTM with attention; scores as in "
        "TensorFlow's AttentionCellWrapper, which Magenta uses",
        model=AttentionLstmConfig(
            layers=3,  # table 3
            width=1024,  # table 3
            look_back=40,  # attn_length of Magenta's attention_rnn
            score="concat",  # AttentionCellWrapper
        ),
        deviations=(
            *like.deviations,
            "how far it looks back the paper does not say: 40 outputs are of Magenta's melody RNN",
            "the last layer's outputs attend and nothing is fed back, so that all times train at "
            "once; TensorFlow's wrapper attends within the first layer and feeds its next input",
        ),
    )


RECURRENT: dict[str, Callable[[], Preset]] = {
    "oore2018": oore2018,
    "oore2018-pedal": oore2018_pedal,
    "performance-rnn": performance_rnn,
    "performance-rnn-plain": performance_rnn_plain,
    "performance-rnn-modulo": performance_rnn_modulo,
    "performance-rnn-notes": performance_rnn_notes,
    "lstm-1024": lstm_1024,
    "lstm-attention-1024": lstm_attention_1024,
}
