"""Tune the schedule of a `transformers.Trainer` that trains a tiny BERT to add digits.

`to_transformers` turns a plan into the Trainer's scheduler, in the search and for the final run.
"""

import tempfile

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

import lrsearch

WORDS = torch.randint(10, (256, 8), generator=torch.Generator().manual_seed(0))
DATA = [{"input_ids": w, "labels": (w.sum() > 36).long()} for w in WORDS]


class Report(TrainerCallback):
    def __init__(self, run):
        self.run = run

    def on_log(self, args, state, control, logs=None, **words):
        if "loss" in logs:
            self.run.report(state.global_step - 1, logs["loss"])


def train(plan, seed, callbacks=()):
    set_seed(seed)
    sizes = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 64}
    config = BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2, num_labels=2)
    model = BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        words = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
        words |= {"logging_steps": 5, "seed": seed, "dataloader_pin_memory": False}
        arguments = TrainingArguments(folder, max_steps=len(plan), **words)
        scheduler = lrsearch.export.to_transformers(plan, optimizer)
        words = {"train_dataset": DATA[:192], "callbacks": [*callbacks]}
        trainer = Trainer(model, arguments, optimizers=(optimizer, scheduler), **words)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return trainer.evaluate(DATA[192:])["eval_loss"]


@lrsearch.objective(unit="nats", peak=(1e-4, 1e-1), steps=40)
def tiny_bert(run):
    return train(run.plan, run.seed, [Report(run)])


if __name__ == "__main__":
    result = lrsearch.tune(
        tiny_bert, space="linear", trials=10, tracking_uri="none", compare=False
    )
    print(f"best {result.best.value:.4f} {result.unit} with {result.best.schedule}")
    print(f"loss after 120 steps: {train(result.best.schedule.plan(120), seed=1):.4f}")
