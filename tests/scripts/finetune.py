"""A fine-tuning script in the style of transformers: HfArgumentParser and Trainer.

The language model is tiny and made here, so nothing is downloaded.
"""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)


def blocks(count, seed):
    rows = torch.randint(0, 8, (count, 12), generator=torch.Generator().manual_seed(seed))
    rows = rows.cumsum(1) % 16
    return [{"input_ids": row, "labels": row} for row in rows]


def main():
    (args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()
    set_seed(args.seed)
    config = GPT2Config(vocab_size=16, n_positions=12, n_embd=16, n_layer=1, n_head=2)
    trainer = Trainer(
        model=GPT2LMHeadModel(config),
        args=args,
        train_dataset=blocks(128, 0),
        eval_dataset=blocks(64, 1),
    )
    trainer.train()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)


if __name__ == "__main__":
    main()
