from dataclasses import dataclass, field
from typing import Literal

import pytest

from espressivo.configs import TransformerConfig
from espressivo.errors import ConfigError
from espressivo.overrides import overridden


@dataclass(frozen=True)
class Inner:
    stretch: float = 0.0


@dataclass(frozen=True)
class Config:
    steps: int = 1
    rate: float | None = None
    kind: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.98)
    sizes: tuple[int, ...] = ()
    compile: bool = False
    inner: Inner = field(default_factory=Inner)


def changed(*assignments):
    return overridden({"training": Config(), "model": TransformerConfig()}, assignments)["training"]


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("training.steps=20", "steps", 20),
        ("training.rate=1e-3", "rate", 0.001),
        ("training.rate=none", "rate", None),
        ("training.kind=muon", "kind", "muon"),
        ("training.betas=0.8, 0.9", "betas", (0.8, 0.9)),
        ("training.sizes=(1,2,3)", "sizes", (1, 2, 3)),
        ("training.compile=true", "compile", True),
        ("training.compile=off", "compile", False),
        ("training.inner.stretch=0.05", "inner", Inner(0.05)),
    ],
)
def test_a_text_is_read_as_the_type_of_its_field(assignment, name, value):
    read = getattr(changed(assignment), name)
    assert read == value
    assert type(read) is type(value)


def test_the_last_of_two_assignments_counts():
    assert changed("training.steps=20", "training.steps=30").steps == 30


def test_a_configuration_checks_the_new_value_itself():
    with pytest.raises(ConfigError, match="heads=7 must divide"):
        overridden({"model": TransformerConfig()}, ["model.heads=7"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.step=20", r"'training.step'; did you mean training.steps\?"),
        ("modle.layers=4", r"did you mean model\?"),
        ("training.inner.strech=1", r"did you mean training.inner.stretch\?"),
        ("training.steps=2.5", "training.steps='2.5' must be a whole number"),
        ("training.rate=fast", "must be a number"),
        ("training.kind=sgd", "must be one of adamw, muon"),
        ("training.betas=0.9", "must be 2 values"),
        ("training.compile=2", "must be true or false"),
        ("training.inner=3", "no single value"),
        ("training.steps.x=3", "no single value"),
        ("steps=3", "write training.NAME=VALUE"),
        ("training.steps", "write training.NAME=VALUE"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(assignment, message):
    with pytest.raises(ConfigError, match=message):
        changed(assignment)
