"""The importance of the schedule's fields for the values of a search."""

from __future__ import annotations

import math
import warnings

import optuna
from optuna.trial import create_trial

from lrsearch.distributions import distributions, point_within
from lrsearch.study.store import Store

#: Number of finished trials below which no importance is computed.
FEWEST_TRIALS = 20


def importances(store: Store) -> dict[str, float]:
    """Compute the share of the variance by field, by functional ANOVA (Hutter et al. 2014).

    The variance is that of the logarithm if all values are positive. It describes the trials of
    this search, most of which are where values are good, not the space as a whole.

    Returns:
        Shares that add up to 1; empty if fewer than 20 trials finished or all values are equal.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # takes 1 s

    searched = distributions(store.spec.space)
    # Sorted by index: the order in which trials end depends on the slots, and the forest depends
    # on the order of its rows.
    trials = [t for _, t in sorted(store.trials().items()) if t.value is not None]
    positive = all(t.value is not None and t.value > 0 for t in trials)
    study = optuna.create_study()
    for trial in trials:
        point = point_within(trial.schedule, searched)
        if trial.value is not None and point is not None:
            value = math.log(trial.value) if positive else trial.value
            study.add_trial(create_trial(value=value, params=point, distributions=searched))
    values = [trial.value for trial in study.trials]
    if len(values) < FEWEST_TRIALS or not searched or len(set(values)) == 1:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = FanovaImportanceEvaluator(seed=0)
    try:
        return dict(get_param_importances(study, evaluator=evaluator))
    except RuntimeError:  # raised for values without variance
        return {}
