"""A script for torchrun: two processes train one model together, with gloo on the CPU."""

import torch
import torch.distributed as dist

import lrsearch.client

dist.init_process_group("gloo")
get_lr = lrsearch.client.rates(lambda step: 0.1, steps=20)
x = torch.tensor(1.0 + dist.get_rank())  # the mean of the ranks is trained
for step in range(20):
    gradient = x.clone()
    dist.all_reduce(gradient)
    x -= get_lr(step) * gradient / dist.get_world_size()
    lrsearch.client.report(step, x.abs())
total = x.clone()
dist.all_reduce(total)
if dist.get_rank():
    lrsearch.client.value(-1.0)  # not written: only rank 0 reports
else:
    lrsearch.client.value(total**2)
dist.destroy_process_group()
