"""Random schedules for property tests, with every field within its range."""

from hypothesis import strategies as st

from lrsearch.coupling import RAMPS
from lrsearch.curves import DECAYS
from lrsearch.schedule import MOMENTUM_RULES

STEPS = 40

unit = st.floats(0, 1)
open_unit = st.floats(1e-6, 1)


def schedules(**fixed):
    """Return a strategy of keyword arguments for valid Schedules that fit a run of STEPS steps."""
    fields = {
        "peak": st.floats(1e-8, 1e3),
        "warmup": st.floats(0, 0.4),
        "hold": st.floats(0, 0.4),
        "decay": st.sampled_from(sorted(DECAYS)),
        "power": st.floats(1e-3, 20),
        "rate": st.floats(0, 100),
        "bend": st.floats(1e-3, 20),
        "drops": st.integers(1, 6),
        "gamma": st.floats(1e-3, 0.999),
        "knot_x1": unit,
        "knot_y1": open_unit,
        "knot_x2": unit,
        "knot_y2": open_unit,
        "floor": st.floats(0, 0.99),
        "cycles": st.integers(1, 2),
        "cycle_growth": st.floats(1, 2),
        "cycle_damping": open_unit,
        "smoothing": st.floats(0, 0.99),
        "batch_growth": st.floats(1, 2),
        "batch_ramp": st.sampled_from(RAMPS),
        "coupling": unit,
        "momentum": st.one_of(st.none(), st.floats(0.5, 0.999)),
        "momentum_rule": st.sampled_from(MOMENTUM_RULES),
        "curvature": st.floats(1e-6, 1e6),
        "momentum_low": st.floats(0, 0.5),
    }
    fields.update({name: st.just(value) for name, value in fixed.items()})
    return st.fixed_dictionaries(fields)
