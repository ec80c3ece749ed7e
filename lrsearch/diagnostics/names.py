"""Every diagnostic by name: its meaning, its unit and its pitfalls."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_END = (
    "at the end of a run it mostly reflects the final rate (edge of stability), and across rates "
    "it says little about generalisation (Andriushchenko et al. 2023, arXiv 2302.07011)"
)

#: Names are stable. They are metrics of MLflow, keys of `best.diagnostics` and values of `--sort`.
DIAGNOSTICS: Mapping[str, str] = MappingProxyType(
    {
        # of the schedule
        "total_variation": "F, the sum of |η_t - η_{t-1}|; the same for all monotone schedules "
        "with the same first and last rate",
        "quadratic_variation": "sum of (η_t - η_{t-1})²",
        "largest_jump": "largest |η_t - η_{t-1}|",
        "second_variation": "sum of |η_{t+1} - 2η_t + η_{t-1}|",
        "rate_sum": "sum of the rates; it limits the distance that gradient descent can travel",
        "rate_square_sum": "sum of the squared rates",
        "decay_product": "factor by which weight decay alone shrinks the initial weights, "
        "∏(1 - η_t λ), for plain SGD and AdamW; with momentum μ the exponent is about 1/(1-μ) "
        "times as large",
        "noise_scale": "mean of η_t/B_t, the rate over the batch size",
        "noise_scale_spread": "standard deviation of η_t/B_t over its mean; 0 if the noise scale "
        "is constant",
        "updates_above_limit": "number of steps with a rate above 2/λ_max, if λ_max is known",
        "time_above_limit": "fraction of steps with a rate above 2/λ_max, if λ_max is known",
        # of the curves
        "spikes": "number of loss spikes: more than 8 robust standard deviations above the median "
        "of the previous 50",
        "largest_deviation": "largest distance from the initial parameters, over sampled steps",
        "largest_update": "largest norm of a parameter update, over sampled steps",
        "largest_gradient": "largest norm of the (clipped) gradient, over sampled steps",
        "last_gradient": "norm of the (clipped) gradient of the last step",
        "energy_injections": "number of rises of loss + ½‖update‖² between sampled steps; batch "
        "noise counts too",
        "energy_injected": "sum of the rises of loss + ½‖update‖² between sampled steps",
        # of the landscape
        "weight_norm": "norm of the parameters",
        "sharpness": "largest eigenvalue λ_max of the Hessian on the measured samples, estimated "
        "from below (Adam: preconditioned; with weight decay in the gradient: λ added); with few "
        f"samples it varies, by a factor of two on the digits task; {_END}",
        "sharpness_error": "an eigenvalue lies within this distance of the sharpness",
        "stability_ratio": "η·λ_max over the optimizer's stability limit (gradient descent 2, "
        "heavy ball 2(1+μ), Nesterov 2(1+μ)/(1+2μ), Adam (2+2β1)/(1-β1)); 1 is the edge of "
        "stability for full batches; small batches and clipped gradients stay below it; it falls "
        "with the rate at the end of a run",
        "largest_stability_ratio": "largest stability_ratio of all measurements of the run",
        "trace": f"trace of the Hessian (Adam: preconditioned), by Hutchinson; {_END}",
        "trace_error": "standard error of the trace",
        "noise_rise": f"rise of the loss if random noise of 5 % is added to every weight; {_END}",
        "worst_rise": "rise of the loss at the worst point within distance .05, to first order; "
        f"{_END}",
        "critical_batch": "gradient noise scale tr Σ/|G|² in samples, a ratio of averages over "
        "all measurements, each on fresh samples; batches larger than this gain little; from a "
        "single measurement (short runs at level cheap) it can be wrong by a large factor",
        "margin": "smallest lead of the correct class's score over any other class, divided by "
        "the norm of the weights (linear classifiers)",
        "svm_angle": "angle in radians to the direction of the largest margin (linear classifiers "
        "of separable data); it shrinks only like 1/log of the sum of the rates",
    }
)
