"""A GPT-like trainer: its own `get_lr`, a configuration file and overrides, one extra update.

It predicts the next character of a text with a small recurrent model, as a GPT trainer would.
"""

import math
import sys

import torch

seed = 0
out_dir = "out"
learning_rate = 1e-2
max_iters = 60
warmup_iters = 5
eval_interval = 20
batch_size = 16
block_size = 16

for word in sys.argv[1:]:  # configuration files and --key=value overrides
    if word.startswith("--"):
        key, _, text = word[2:].partition("=")
        globals()[key] = type(globals()[key])(text)
    else:
        with open(word) as file:
            exec(file.read())

torch.manual_seed(seed)
text = torch.tensor(list(("the quick brown fox jumps over the lazy dog; " * 40).encode()))
chars = sorted(set(text.tolist()))
data = torch.tensor([chars.index(c) for c in text.tolist()])
order = torch.Generator().manual_seed(seed)


def get_batch(generator):
    starts = torch.randint(len(data) - block_size - 1, (batch_size,), generator=generator)
    rows = torch.stack([data[s : s + block_size + 1] for s in starts])
    return rows[:, :-1], rows[:, 1:]


embed = torch.nn.Embedding(len(chars), 16)
cell = torch.nn.GRU(16, 16, batch_first=True)
head = torch.nn.Linear(16, len(chars))
parameters = [*embed.parameters(), *cell.parameters(), *head.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=learning_rate)


def get_loss(batch):
    x, y = batch
    return torch.nn.functional.cross_entropy(head(cell(embed(x))[0]).flatten(0, 1), y.flatten())


def get_lr(it):
    if it < warmup_iters:
        return learning_rate * (it + 1) / warmup_iters
    decay = (it - warmup_iters) / max(1, max_iters - warmup_iters)
    return learning_rate * 0.5 * (1 + math.cos(math.pi * min(decay, 1)))


# CHANGED LINE
iter_num = 0
while True:
    lr = get_lr(iter_num)
    for group in optimizer.param_groups:
        group["lr"] = lr
    if iter_num % eval_interval == 0:
        with torch.no_grad():
            held = get_loss(get_batch(torch.Generator().manual_seed(12345)))
        print(f"step {iter_num}: train loss {held:.4f}, val loss {held:.6f}, lr {lr!r}")
    loss = get_loss(get_batch(order))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"iter {iter_num}: loss {loss.item():.4f}, time 1.00ms, mfu -100.00%")
    iter_num += 1
    if iter_num > max_iters:
        break
