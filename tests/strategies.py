"""Music for property tests: every kind of performance a law must hold for."""

from hypothesis import strategies as st

from espressivo.codecs import CODECS, Codec
from espressivo.performance import SOFT, SOSTENUTO, SUSTAIN, Performance, Track

TIMES = st.one_of(
    st.integers(0, 60).map(lambda n: n / 20),  # many equal times, and all on the usual grids
    st.integers(0, 3000).map(lambda n: n / 1000),  # many in one step, and exactly between two
    st.floats(0, 3, allow_subnormal=False),
    st.floats(0, 100, allow_subnormal=False),
)
LENGTHS = st.one_of(
    st.sampled_from([1e-4, 0.004, 0.005, 0.01, 0.05, 0.5, 3.0]),
    st.floats(1e-4, 10),
)
KEYS = st.one_of(st.sampled_from([60, 61, 64]), st.integers(0, 127))


@st.composite
def performances(draw, tracks: int = 3, drums: bool = True) -> Performance:
    """Overlaps, equal times, drums, several tracks, pedals exactly where notes begin and end."""
    players = draw(
        st.lists(
            st.builds(Track, st.integers(0, 127), st.booleans() if drums else st.just(False)),
            min_size=1,
            max_size=tracks,
        )
    )
    track = st.integers(0, len(players) - 1)
    rows = draw(st.lists(st.tuples(TIMES, LENGTHS, KEYS, st.integers(1, 127), track), max_size=14))
    notes = [(on, on + length, *rest) for on, length, *rest in rows]
    edges = [time for note in notes for time in note[:2]]
    moment = st.one_of(TIMES, st.sampled_from(edges)) if edges else TIMES
    number = st.sampled_from([SUSTAIN, SUSTAIN, SUSTAIN, SOFT, SOSTENUTO, 7])
    value = st.one_of(st.sampled_from([0, 63, 64, 127]), st.integers(0, 127))
    controls = draw(st.lists(st.tuples(moment, number, value, track), max_size=8))
    return Performance(notes, controls, tracks=players)


def every_codec() -> st.SearchStrategy[Codec]:
    """One of the published codecs."""
    return st.sampled_from(list(CODECS.values()))
