"""An MNIST-like example: argparse, SGD, and StepLR once per epoch."""

import argparse

import torch
from sklearn.datasets import load_digits


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    images, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    train, test = slice(0, 1280), slice(1280, None)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10), torch.nn.LogSoftmax(1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        order = torch.randperm(1280)
        for i, rows in enumerate(order.split(args.batch_size)):
            optimizer.zero_grad()
            loss = torch.nn.functional.nll_loss(model(images[train][rows]), labels[train][rows])
            loss.backward()
            optimizer.step()
            print(f"Train Epoch: {epoch} [{i * args.batch_size}/1280]\tLoss: {loss.item():.6f}")
        with torch.no_grad():
            loss = torch.nn.functional.nll_loss(model(images[test]), labels[test])
        print(
            f"\nTest set: Average loss: {loss.item():.6f}, rate {scheduler.get_last_lr()[0]!r}\n"
        )
        scheduler.step()


if __name__ == "__main__":
    main()
