"""Catalog of the sixteen statements: the text of the chapter, its source and its experiment.

The module of an experiment is imported only when the experiment runs, so listing names is fast.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from lrsearch.errors import RequestError, closest
from lrsearch.finding import Finding


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the chapter.

    Attributes:
        id: name of the statement.
        statement: the text of the chapter.
        source: the paper that the statement comes from, or that proves or refutes it.
        experiment: `module:function` in `lrsearch.claims`. The arguments of the function are the
            premises of the statement; its docstring says what is true.
    """

    id: str
    statement: str
    source: str
    experiment: str

    def run(self, **premises: Any) -> Finding:
        """Run the experiment.

        Args:
            premises: arguments of the experiment to change; each has a default.

        Raises:
            RequestError: a premise is out of range.
        """
        module, _, name = self.experiment.partition(":")
        function = getattr(importlib.import_module(f"lrsearch.claims.{module}"), name)
        return cast(Callable[..., Finding], function)(**premises)


_ALL = (
    Claim(
        id="decay-beats-constant",
        statement="On a noisy convex quadratic with the same noise for every schedule, a constant "
        "rate plateaus and decaying rates end lower; a cosine balances the two.",
        source="Zhang et al. 2019, arXiv 1907.04164; Naganuma et al. 2026, arXiv 2603.10301",
        experiment="plateau:decay_beats_constant",
    ),
    Claim(
        id="diffusion",
        statement="Under dθ = -aηθ dt + σ√η dW with η = η0/(1+βt) the variance is "
        "(V0-σ²/2a)(1+βT)^(-2aη0/β) + σ²/2a.",
        source="Mandt, Hoffman & Blei 2017, arXiv 1704.04289",
        experiment="diffusion:diffusion",
    ),
    Claim(
        id="diffusion-limit",
        statement="By that formula a decaying rate reaches a smaller limit of the variance than a "
        "constant one.",
        source="Mandt, Hoffman & Blei 2017, arXiv 1704.04289",
        experiment="diffusion:diffusion_limit",
    ),
    Claim(
        id="weight-decay",
        statement="Weight decay under a schedule shrinks the weights by ∏(1-η_tλ); their norm "
        "depends on the whole history of the rate.",
        source="Loshchilov & Hutter 2019, arXiv 1711.05101 (AdamW)",
        experiment="decay:weight_decay",
    ),
    Claim(
        id="noise-scale",
        statement="The noise of an update is proportional to η²/B; η/B is the noise scale, which "
        "η_t = g·B_t keeps constant, so the rate is scaled with the batch.",
        source="Goyal et al. 2017, arXiv 1706.02677; McCandlish et al. 2018, arXiv 1812.06162",
        experiment="noise:noise_scale",
    ),
    Claim(
        id="energy",
        statement="With V = f + ½v² a step injects energy if and only if η > 2/(λ+1), which marks "
        "instability.",
        source="Polyak 1964, Some methods of speeding up the convergence of iteration methods",
        experiment="energy:energy",
    ),
    Claim(
        id="restarts",
        statement="Warm restarts escape sharp shallow minima, and a high rate crosses kinks.",
        source="Loshchilov & Hutter 2017, arXiv 1608.03983 (SGDR)",
        experiment="restarts:restarts",
    ),
    Claim(
        id="flatness",
        statement="F = Σ|η_t - η_{t-1}| measures smoothness: step decay has a high F, a cosine a "
        "low one.",
        source="the definition of total variation: it telescopes on monotone curves",
        experiment="smoothness:flatness",
    ),
    Claim(
        id="smoothing",
        statement="A moving average of the schedule reduces F.",
        source="Schoenberg 1948, On variation-diminishing integral operators",
        experiment="smoothness:smoothing",
    ),
    Claim(
        id="flat-is-stable",
        statement="Schedules of lower F have a smaller largest deviation of the iterate.",
        source="Cohen et al. 2021, arXiv 2103.00065 (the limit 2/λ)",
        experiment="stability:flat_is_stable",
    ),
    Claim(
        id="margin",
        statement="With Ση = ∞ and Ση² < ∞ gradient descent on separable data turns to the "
        "max-margin direction.",
        source="Soudry et al. 2018, arXiv 1710.10345; Nacson et al. 2019, arXiv 1803.01905",
        experiment="margin:margin",
    ),
    Claim(
        id="pac-bayes",
        statement="The rate η = 2λτ²/σ² minimises the KL divergence of SGD's stationary "
        "distribution from the prior.",
        source="Mandt, Hoffman & Blei 2017, arXiv 1704.04289",
        experiment="posterior:pac_bayes",
    ),
    Claim(
        id="critical-damping",
        statement="Momentum is critically damped at η = ((1-μ)/(1+μ))²/λ for Nesterov and at "
        "η = (1-√μ)²/λ for the heavy ball.",
        source="O'Donoghue & Candès 2015, arXiv 1204.3982",
        experiment="damping:critical_damping",
    ),
    Claim(
        id="critical-ramp",
        statement="The critical rate keeps convergence free of oscillation while the momentum "
        "ramps up.",
        source="Sutskever et al. 2013, On the importance of initialization and momentum",
        experiment="damping:critical_ramp",
    ),
    Claim(
        id="cosine-shape",
        statement="A cosine decays slowly at first, then progressively faster.",
        source="Loshchilov & Hutter 2017, arXiv 1608.03983 (SGDR)",
        experiment="shape:cosine_shape",
    ),
    Claim(
        id="momentum-map",
        statement="Momentum μ = 1-γ√η discretises the damped Hamiltonian.",
        source="Su, Boyd & Candès 2016, arXiv 1503.01243",
        experiment="hamiltonian:momentum_map",
    ),
)

CLAIMS: Mapping[str, Claim] = MappingProxyType({claim.id: claim for claim in _ALL})


def find(id: str) -> Claim:  # noqa: A002 - the name in the JSON of the command line
    """Return the claim with this name.

    Raises:
        RequestError: no claim has this name.
    """
    if id not in CLAIMS:
        raise RequestError(f"there is no claim {id!r}{closest(id, CLAIMS)}")
    return CLAIMS[id]


def run(id: str, **premises: Any) -> Finding:  # noqa: A002
    """Run the experiment of one claim.

    Args:
        id: name of the claim.
        premises: arguments of the experiment to change; each has a default.

    Raises:
        RequestError: no claim has this name, or a premise is out of range.
    """
    return find(id).run(**premises)
