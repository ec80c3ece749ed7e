"""PyTorch Lightning: return the result of `to_lightning` from `configure_optimizers`."""

import lightning
import torch
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, TensorDataset

import lrsearch

FEATURES, LABELS = (torch.as_tensor(array) for array in load_wine(return_X_y=True))
FEATURES = ((FEATURES - FEATURES.mean(0)) / FEATURES.std(0)).float()
ORDER = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))
FIT, HELD_OUT = ORDER[:120], ORDER[120:]


class Wine(lightning.LightningModule):
    def __init__(self, plan, run=None):
        super().__init__()
        self.plan, self.run = plan, run
        self.net = torch.nn.Sequential(
            torch.nn.Linear(13, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3)
        )

    def training_step(self, batch, index):
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        if self.run is not None:
            self.run.report(self.global_step, loss.item())
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return lrsearch.export.to_lightning(self.plan, optimizer)


def fit(plan, seed, run=None):
    lightning.seed_everything(seed, verbose=False)
    model = Wine(plan, run)
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = lightning.Trainer(max_steps=len(plan), accelerator="cpu", **quiet)
    trainer.fit(model, DataLoader(TensorDataset(FEATURES[FIT], LABELS[FIT]), 16, shuffle=True))
    with torch.no_grad():
        logits = model.net(FEATURES[HELD_OUT])
    return torch.nn.functional.cross_entropy(logits, LABELS[HELD_OUT]).item()


@lrsearch.objective(unit="nats", peak=(1e-3, 1.0), steps=40)
def wine(run):
    return fit(run.plan, run.seed, run)


if __name__ == "__main__":
    result = lrsearch.tune(wine, space="cosine", trials=10, tracking_uri="none", compare=False)
    print(f"best {result.best.value:.4f} {result.unit} with {result.best.schedule}")
    print(f"loss after 100 steps: {fit(result.best.schedule.plan(100), seed=1):.4f}")
