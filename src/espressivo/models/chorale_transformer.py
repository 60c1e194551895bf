"""The transformers of the chorale experiment (Huang et al. 2018, section 4.1.1 and table 2).

Token 0 is a rest, the others are pitches a semitone apart; the voices take turns, and the first
token of a sequence is the start token, heard before the first voice sings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs.chorale import ChoraleConfig
from espressivo.configs.patterns import Causal
from espressivo.models.attention import Heads, Position, Relative
from espressivo.models.layers import initialise
from espressivo.models.model import State, refuse_controls
from espressivo.models.music_transformer import MusicTransformer, TransformerState


@dataclass(frozen=True, eq=False)
class PitchAndTime(Position):
    """Vectors per distance in tokens, in steps of the grid, and per interval, added up.

    The logits are Skew(Q E^r) + Q (R^t + R^p), divided by sqrt(d). Row n of `steps` belongs to
    notes n steps apart, further away it is zero; `intervals_of` tells the rows of `intervals`.
    """

    tokens: Relative
    steps: Float[Tensor, "h s d"]
    apart: Int[Tensor, "i j"]
    intervals: Float[Tensor, "h p d"]
    interval: Int[Tensor, "b i j"]

    def bias(
        self, q: Float[Tensor, "b h i d"], k: Float[Tensor, "b h j d"], distance: Int[Tensor, "i j"]
    ) -> Float[Tensor, "b h i j"]:
        """Look up the vectors of every pair."""
        vectors = self._time[:, self._row] + self.intervals[:, self.interval].transpose(0, 1)
        logits = torch.einsum("b h i d, b h i j d -> b h i j", q, vectors)
        sung: Tensor = logits * q.shape[-1] ** -0.5
        return self.tokens.bias(q, k, distance) + sung

    def fast_bias(
        self, q: Float[Tensor, "b h i d"], k: Float[Tensor, "b h j d"]
    ) -> Float[Tensor, "b h i j"]:
        """Multiply by all vectors, then look up the products: a number for every pair."""
        shape = (*q.shape[:3], k.shape[2])
        time = (q @ self._time.mT).gather(-1, self._row.expand(shape))
        pitch = (q @ self.intervals.mT).gather(-1, self.interval[:, None].expand(shape))
        sung: Tensor = (time + pitch) * q.shape[-1] ** -0.5
        return self.tokens.fast_bias(q, k) + sung

    @property
    def _time(self) -> Float[Tensor, "h s d"]:
        return F.pad(self.steps, (0, 0, 0, 1))  # a row of zeros for what is further away

    @property
    def _row(self) -> Int[Tensor, "i j"]:
        return self.apart.clamp(0, self.steps.shape[1])


def steps_apart(queries: int, keys: int, voices: int) -> Int[Tensor, "i j"]:
    """Give how many steps key j was sung before query i, the newest keys being the queries.

    Token n > 0 is sung at step (n - 1) // voices, the start token in the step before the first.
    """
    step = (torch.arange(keys) - 1).div(voices, rounding_mode="floor")
    return step[keys - queries :, None] - step


def intervals_of(
    queries: Int[Tensor, "b i"], keys: Int[Tensor, "b j"], pitches: int
) -> Int[Tensor, "b i j"]:
    """Give the row of every interval: the deepest first, the last for whatever a rest is in."""
    row = queries[:, :, None] - keys[:, None, :] + pitches - 1
    silent = (queries == 0)[:, :, None] | (keys == 0)[:, None, :]
    return row.masked_fill(silent, 2 * pitches - 1)


class FirstHeads(Heads):
    """Heads that also hear how far apart notes are sung, and which interval they make."""

    def __init__(self, config: ChoraleConfig, pitches: int) -> None:
        """Give every distance in steps within reach a vector, and every interval."""
        transformer = config.transformer
        super().__init__(transformer, Causal())
        self.voices, self.pitches = config.voices, pitches
        heads, width = transformer.heads, transformer.attention // transformer.heads
        steps = torch.randn(heads, transformer.reach, width) * width**-0.5
        intervals = torch.randn(heads, 2 * pitches, width) * width**-0.5
        self.steps, self.intervals = nn.Parameter(steps), nn.Parameter(intervals)

    def forward(  # type: ignore[override]  # no other heads are told the notes
        self,
        x: Float[Tensor, "b t w"],
        past: tuple[Tensor, Tensor] | None,
        notes: Int[Tensor, "b j"],
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Attend as `Heads` do, knowing all `notes` so far; the newest are those of `x`."""
        q, k, v = self.projected(x, past)
        queries, keys = x.shape[1], notes.shape[1]
        tokens = self.order(keys)
        assert isinstance(tokens, Relative)
        apart = steps_apart(queries, keys, self.voices).to(x.device)
        interval = intervals_of(notes[:, keys - queries :], notes, self.pitches)
        order = PitchAndTime(tokens, self.steps, apart, self.intervals, interval)
        return self.heard(q, k, v, order), k, v


@dataclass
class ChoraleState(TransformerState):
    """The same memory, and the notes themselves, [b, length]."""

    notes: Tensor = field(kw_only=True)

    def select(self, rows: Int[Tensor, " n"]) -> ChoraleState:
        """Give independent copies of some batch entries."""
        return self._with(super().select(rows), self.notes[rows])

    def detach(self) -> ChoraleState:
        """Cut off the gradient history, keep the values."""
        return self._with(super().detach(), self.notes)

    @staticmethod
    def _with(memory: TransformerState, notes: Tensor) -> ChoraleState:
        return ChoraleState(memory.keys, memory.values, memory.length, notes=notes)


class ChoraleTransformer(MusicTransformer):
    """A Music Transformer that may be told whose turn it is, and how its notes lie."""

    def __init__(self, config: ChoraleConfig, vocabulary_size: int) -> None:
        """Exchange what the configuration asks to be another."""
        super().__init__(config.transformer, vocabulary_size)
        self.chorale = config
        if config.voice_labels:
            self.embedding_of_voices = nn.Embedding(config.voices, config.transformer.width)
        if config.pitch_and_time:
            self.layers[0].attention = FirstHeads(config, vocabulary_size - 1)
            initialise(self.layers[0])

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> ChoraleState:
        """Give the memory of having read nothing."""
        memory = super().start(batch, source)
        nothing = torch.zeros(batch, 0, dtype=torch.long, device=self.output.weight.device)
        return ChoraleState(memory.keys, memory.values, notes=nothing)

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and what is remembered of all tokens so far."""
        refuse_controls(self, controls)
        memory = self.start(len(tokens)) if state is None else state
        if not isinstance(memory, ChoraleState):
            raise TypeError(f"a chorale transformer cannot continue from {type(memory).__name__}")
        notes = torch.cat([memory.notes, tokens], 1)
        x = self.dropout(self._embedded(tokens, memory.length))
        after = ChoraleState([], [], notes.shape[1], notes=notes)
        for index, layer in enumerate(self.layers):
            beside = (notes,) if self.chorale.pitch_and_time and index == 0 else ()
            x, keys, values = layer(x, (memory.keys[index], memory.values[index]), *beside)
            after.keys.append(keys)
            after.values.append(values)
        logits: Tensor = self.output(self.norm(x))
        return logits, after

    def _embedded(self, tokens: Int[Tensor, "b t"], before: int) -> Float[Tensor, "b t w"]:
        """Give what enters the first layer, for tokens that follow `before` others."""
        x = super()._embedded(tokens, before)
        if not self.chorale.voice_labels:
            return x
        turns = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        told: Tensor = self.embedding_of_voices(turns % self.chorale.voices)
        return x + told
