"""
For an engineer: a checkpoint of your own
=========================================

You have a network, a file of its parameters and its training data. Here such a file is made first, by a short training
on real digits. From then on only the file, the class of the network and the loader are used, as in your own case.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import encollapse as ec

torch.manual_seed(0)
digits = ec.data.load("digits", per_class=50).train
samples = torch.utils.data.TensorDataset(torch.tensor(digits.inputs), torch.tensor(digits.labels))
loader = torch.utils.data.DataLoader(samples, batch_size=100, shuffle=True)


def build() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.BatchNorm1d(64), nn.Linear(64, 10)
    )


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)


folder = Path(tempfile.mkdtemp())
network = build()
optimizer = optimizer_of(network)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 80)
for epoch in range(1, 81):
    for inputs, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    scheduler.step()
    if epoch in (5, 20, 80):
        torch.save(network.state_dict(), folder / f"epoch-{epoch}.pt")

# %%
# One checkpoint
# --------------
#
# Load it, and ask what the last layer looks like. ``measure_model`` finds the classifier by itself.
restored = build()
restored.load_state_dict(torch.load(folder / "epoch-80.pt", weights_only=True))
measured = ec.measure.measure_model(restored, loader, progress=False)
print(measured)
assert measured.nc4_agreement > 0.8

# %%
# What does the theory expect of this training? ``diagnose`` reads the network, the optimizer and the loss.
diagnosis = ec.diagnose(restored, loader, optimizer_of(restored), loss="cross_entropy", progress=False)
print(diagnosis.verdict)
assert diagnosis.law == "batch_norm"
assert diagnosis.excess.total > 0

# %%
# All checkpoints of a training
# -----------------------------
#
# ``measure_checkpoints`` runs through a folder of files in the order of their numbers.
along = ec.measure.measure_checkpoints(folder, build, loader, progress=False)
along.plot()
spread = [row["nc1_trace_ratio"] for row in along.rows()]
print(np.round(spread, 4))
assert len(spread) == 3
assert spread[-1] < spread[0]
