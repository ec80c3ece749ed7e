"""A GAN with two learning rates from one plan (TTUR, Heusel et al. 2017).

The discriminator uses the rates of the plan, the generator a fixed fraction of them. The value is
the Wasserstein distance between generated and true samples, not one of the losses.
"""

import torch
from torch import nn

import lrsearch

FRACTION = 0.25  # generator rate / discriminator rate


def true_samples(n, random):
    side = torch.randint(2, (n, 1), generator=random) * 4.0 - 2.0
    return side + 0.3 * torch.randn(n, 1, generator=random)


def network():
    return nn.Sequential(nn.Linear(1, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


@lrsearch.objective(unit="Wasserstein distance", peak=(1e-4, 1e-1), steps=200, batch=128)
def gan(run):
    """Learn a mixture of two Gaussians."""
    torch.manual_seed(run.seed)
    random = torch.Generator().manual_seed(run.seed)
    generator, discriminator = network(), network()
    slow = torch.optim.Adam(generator.parameters(), betas=(0.5, 0.9))
    fast = torch.optim.Adam(discriminator.parameters(), betas=(0.5, 0.9))
    loss = nn.functional.softplus
    for lr, batch in run.plan:
        fast.param_groups[0]["lr"], slow.param_groups[0]["lr"] = lr, FRACTION * lr
        fake = generator(torch.randn(batch, 1, generator=random))
        judged = discriminator(fake.detach())
        real = discriminator(true_samples(batch, random))
        fast.zero_grad()
        (loss(judged).mean() + loss(-real).mean()).backward()
        fast.step()
        slow.zero_grad()
        loss(-discriminator(fake)).mean().backward()
        slow.step()
    with torch.no_grad():
        fake = generator(torch.randn(4096, 1, generator=random)).sort(0).values
    # In one dimension this is the distance between the sorted samples. The losses of a GAN say
    # little, so none is reported. A run whose value is not finite counts as diverged.
    return (fake - true_samples(4096, random).sort(0).values).abs().mean().item()


if __name__ == "__main__":
    result = lrsearch.tune(gan, trials=10, seeds=2, tracking_uri="none", compare=False)
    default, best = result.firsts["default"], result.best
    print(f"distance: default schedule {default.value:.3f}, best {best.value:.3f}")
    rate = best.schedule.peak
    print(f"peak rates: discriminator {rate:.2g}, generator {FRACTION * rate:.2g}")
