import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espressivo.codecs import CODECS, Vocabulary
from espressivo.errors import CheckpointError, ConfigError
from espressivo.generation.sampling import Sampler, Sampling, draw

SMALL = Vocabulary(
    note_on=range(4), note_off=range(4), shift=range(1, 6), velocity=range(1, 4), pedal=range(2)
)
LOGITS = np.random.default_rng(3).normal(size=(1, len(SMALL))).astype(np.float32) * 2
EVERYTHING = np.ones((1, len(SMALL)), dtype=bool)


def chances(logits=LOGITS, allowed=EVERYTHING, vocabulary=SMALL, **settings):
    """The probabilities of one row."""
    weights = Sampler(Sampling(**settings), vocabulary).weights(logits, allowed)
    return weights[0] / weights[0].sum()


def softmax(x):
    weights = np.exp(x - x.max())
    return weights / weights.sum()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_temperature_divides_logits(temperature):
    expected = softmax(LOGITS[0].astype(float) / temperature)
    assert np.allclose(chances(temperature=temperature), expected, rtol=1e-12, atol=0)


def test_what_is_not_allowed_weighs_nothing():
    allowed = np.zeros_like(EVERYTHING)
    allowed[0, [1, 9]] = True
    assert np.flatnonzero(chances(allowed=allowed)).tolist() == [1, 9]
    two = LOGITS[0, [1, 9]].astype(float)
    assert np.allclose(chances(allowed=allowed)[[1, 9]], softmax(two))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("pitch_temperature", ["note_on", "note_off"]),
        ("time_temperature", ["shift"]),
        ("velocity_temperature", ["velocity"]),
    ],
)
def test_a_kinds_own_temperature_changes_only_the_choice_within_the_kind(name, kinds):
    plain, own = chances(temperature=0.9), chances(temperature=0.9, **{name: 0.4})
    for kind in SMALL.kinds:
        ids = list(SMALL.ids(kind))
        assert own[ids].sum() == pytest.approx(plain[ids].sum(), rel=1e-12)
        temperature = 0.4 if kind in kinds else 0.9
        within = softmax(LOGITS[0, ids].astype(float) / temperature)
        assert np.allclose(own[ids] / own[ids].sum(), within, rtol=1e-12)


@pytest.mark.parametrize("own", [0.3, 1.0, 4.0])
def test_the_pedals_temperature_tempers_whether_it_moves(own):
    pedal = list(SMALL.ids("pedal"))
    plain, tempered = chances(temperature=0.8), chances(temperature=0.8, pedal_temperature=own)
    odds, mass = plain[pedal].sum() / (1 - plain[pedal].sum()), tempered[pedal].sum()
    assert mass / (1 - mass) == pytest.approx(odds ** (0.8 / own), rel=1e-9)
    others = np.setdiff1d(np.arange(len(SMALL)), pedal)
    assert np.allclose(tempered[others] / (1 - mass), plain[others] / plain[others].sum())


@given(st.floats(0, 5), st.integers(0, 2**32 - 1))
def test_equal_temperatures_are_one_temperature(temperature, seed):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(3, len(SMALL))) * 5
    allowed = random.random(size=logits.shape) < 0.5
    allowed[:, 0] = True
    names = ("pitch", "time", "velocity", "pedal")
    every = Sampling(
        temperature=temperature, **{f"{n}_temperature": temperature + 1e-9 for n in names}
    )
    one = Sampler(Sampling(temperature=temperature), SMALL).weights(logits, allowed)
    own = Sampler(every, SMALL).weights(logits, allowed)
    if temperature > 0.01:
        assert np.allclose(own, one, rtol=1e-4, atol=1e-12)
    assert np.isfinite(own).all()
    assert (own.sum(axis=1) > 0).all()
    assert not own[~allowed].any()


def test_temperature_zero_takes_the_likeliest():
    assert chances(temperature=0).argmax() == LOGITS[0].argmax()
    assert chances(temperature=0).max() > 0.999999
    shifts = list(SMALL.ids("shift"))
    steady = chances(time_temperature=0)
    assert np.count_nonzero(steady[shifts]) == 1
    assert steady[shifts].sum() == pytest.approx(chances()[shifts].sum())


def test_top_k_keeps_the_k_likeliest():
    kept = np.flatnonzero(chances(top_k=5))
    assert sorted(kept) == sorted(np.argsort(-LOGITS[0])[:5])
    assert np.array_equal(chances(top_k=500), chances())


def test_top_p_keeps_the_smallest_set_that_holds_the_share():
    plain, kept = chances(), chances(top_p=0.7) > 0
    order = np.argsort(-plain)
    count = int(np.searchsorted(np.cumsum(plain[order]), 0.7)) + 1
    assert sorted(np.flatnonzero(kept)) == sorted(order[:count])
    assert np.count_nonzero(chances(top_p=1e-9)) == 1


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest():
    plain = chances()
    assert np.array_equal(chances(min_p=0.2) > 0, plain >= 0.2 * plain.max())


def test_heat_lifts_truncation_and_is_never_cold():
    sampler = Sampler(Sampling(temperature=0.1, top_k=1), SMALL)
    logits, allowed = np.tile(LOGITS, (2, 1)), np.tile(EVERYTHING, (2, 1))
    weights = sampler.weights(logits, allowed, heat=np.array([0.0, 0.5]))
    assert np.count_nonzero(weights[0]) == 1
    expected = softmax(LOGITS[0].astype(float) / 1.5)
    assert np.allclose(weights[1] / weights[1].sum(), expected)


def test_eagerness_makes_onsets_rarer_by_that_factor():
    weights = Sampler(Sampling(), SMALL).weights(LOGITS, EVERYTHING, eagerness=np.array([0.25]))
    plain = Sampler(Sampling(), SMALL).weights(LOGITS, EVERYTHING)
    ratio = (weights / plain)[0]
    striking = [*SMALL.ids("note_on"), *SMALL.ids("velocity")]
    assert np.allclose(ratio[striking], 0.25)
    assert np.allclose(np.delete(ratio, striking), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused(bad):
    logits = LOGITS.copy()
    logits[0, 2] = bad
    with pytest.raises(CheckpointError, match="not finite"):
        chances(logits=logits)


@pytest.mark.parametrize("temperature", [0, 1e-5, 1.0, 100])
def test_the_largest_logits_there_are_overflow_nothing(temperature):
    logits = np.linspace(-3.4e38, 3.4e38, len(SMALL), dtype=np.float32)[None]
    p = chances(logits=logits, temperature=temperature, pitch_temperature=0.5, pedal_temperature=2)
    assert np.isfinite(p).all()
    assert p.argmax() == len(SMALL) - 1


def test_drawing_follows_the_weights():
    random = np.random.default_rng(0)
    weights = np.array([0.0, 3.0, 0.0, 1.0, 4.0, 0.0])
    drawn = draw(np.tile(weights, (20000, 1)), random.random(20000))
    share = np.bincount(drawn, minlength=6) / 20000
    assert np.allclose(share, weights / 8, atol=0.015)
    assert not share[weights == 0].any()


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=9), st.floats(0, 1, exclude_max=True))
def test_no_draw_falls_on_a_weight_of_zero(weights, uniform):
    row = np.array([0.0, *weights, 1e-3, 0.0])
    assert row[draw(row[None], np.array([uniform]))[0]] > 0
    assert row[draw(row[None], np.array([np.nextafter(1, 0)]))[0]] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature=-1 must lie in 0..100"),
        ({"temperature": None}, "temperature=None must be a finite number"),
        ({"time_temperature": float("nan")}, "time_temperature=nan must be a finite number"),
        ({"pitch_temperature": "hot"}, "pitch_temperature='hot' must be a finite number"),
        ({"top_k": 0}, "top_k=0 must be a whole number"),
        ({"top_k": 2.5}, "top_k=2.5 must be a whole number"),
        ({"top_p": 0}, "top_p=0 must lie above 0"),
        ({"min_p": 1.5}, "min_p=1.5 must lie above 0"),
        ({"longest_note": 0}, "longest_note=0 seconds must be above 0"),
        ({"longest_silence": float("inf")}, "longest_silence=inf must be a finite number"),
        ({"densest_second": True}, "densest_second=True must be a finite number"),
        ({"break_loops": 1}, "break_loops=1 must be True or False"),
    ],
)
def test_settings_check_themselves(settings, message):
    with pytest.raises(ConfigError, match=message):
        Sampling(**settings)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_codec_without_a_kind_ignores_its_temperature(codec):
    sampling = Sampling(velocity_temperature=0.5, pedal_temperature=0.5, pitch_temperature=0.5)
    logits = np.zeros((1, len(codec.vocabulary)))
    weights = Sampler(sampling, codec.vocabulary).weights(logits, np.ones_like(logits, dtype=bool))
    assert (weights > 0).all()
