"""Every diagnostic by name: what it is, in which unit, and where it misleads."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_END = (
    "at the end it mostly mirrors the final rate (edge of stability), and across rates it says "
    "little about generalisation (Andriushchenko et al. 2023, arXiv 2302.07011)"
)

#: Names are stable: MLflow's metrics, keys of `best.diagnostics`, and what `--sort` takes.
DIAGNOSTICS: Mapping[str, str] = MappingProxyType(
    {
        # of the schedule
        "total_variation": "F, the sum of |η_t - η_{t-1}|; cannot tell monotone curves apart",
        "quadratic_variation": "sum of (η_t - η_{t-1})²",
        "largest_jump": "largest |η_t - η_{t-1}|",
        "second_variation": "sum of |η_{t+1} - 2η_t + η_{t-1}|",
        "rate_sum": "sum of the rates, the distance that gradient descent can travel",
        "rate_square_sum": "sum of the squared rates",
        "decay_product": "what weight decay alone leaves of the initial weights, ∏(1 - η_t λ): of "
        "plain SGD and AdamW; with momentum μ the exponent is about 1/(1-μ) times as large",
        "noise_scale": "mean of η_t/B_t",
        "noise_scale_spread": "standard deviation of η_t/B_t over its mean; 0 anneals nothing",
        "updates_above_limit": "updates at a rate above 2/λ_max, where λ_max is known",
        "time_above_limit": "the same as a fraction of the run",
        # of the curves
        "spikes": "leaps of the loss above median + 8 robust standard deviations of the 50 before",
        "largest_deviation": "largest distance from the initial parameters, at sampled updates",
        "largest_update": "largest norm of an update, at sampled updates",
        "largest_gradient": "largest norm of the (clipped) gradient, at sampled updates",
        "last_gradient": "norm of the last gradient",
        "energy_injections": "how often loss + ½‖update‖² rose between sampled updates; noise of "
        "the batches counts as well",
        "energy_injected": "by how much, together",
        # of the landscape
        "weight_norm": "norm of the parameters",
        "sharpness": "largest eigenvalue λ_max of the Hessian on the samples of the look (Adam: "
        "preconditioned; with weight decay in the gradient: λ added), from below; few samples "
        f"make it vary, by a factor of two on the digits; {_END}",
        "sharpness_error": "an eigenvalue lies within so much of it",
        "stability_ratio": "η·λ_max over the optimizer's stability limit (gradient descent 2, "
        "heavy ball 2(1+μ), Nesterov 2(1+μ)/(1+2μ), Adam (2+2β1)/(1-β1)); 1 is the edge of "
        "stability of full batches, small batches and clipped gradients stay below; it falls with "
        "the rate at the end",
        "largest_stability_ratio": "the largest of them over all looks: how near the run came",
        "trace": f"trace of the Hessian (Adam: preconditioned), by Hutchinson; {_END}",
        "trace_error": "standard error of the trace",
        "noise_rise": f"rise of the loss when every weight is off by 5 % at random; {_END}",
        "worst_rise": f"rise of the loss at the worst point within .05, to first order; {_END}",
        "critical_batch": "gradient noise scale tr Σ/|G|² in samples, a ratio of averages over "
        "the looks, each with samples of its own; beyond it larger batches gain little; after one "
        "look alone (level cheap) it is off by factors",
        "margin": "least lead of the right class over the norm of the weights (linear "
        "classifiers)",
        "svm_angle": "angle to the direction of the largest margin in radians (linear classifiers "
        "of separable data); shrinks only like 1/log of the sum of the rates",
    }
)
