"""
Diagnose a training
===================

``ec.diagnose`` reads a network, its optimizer and its loss, names the law by which weight decay prices the features,
and says how far the network is from the minimum that follows. Here a small network with a last batch normalization
learns real digits, and is diagnosed along its training.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import encollapse as ec
from encollapse.report.style import house_style

torch.manual_seed(0)
digits = ec.data.load("digits", per_class=50).train
samples = torch.utils.data.TensorDataset(torch.tensor(digits.inputs), torch.tensor(digits.labels))
loader = torch.utils.data.DataLoader(samples, batch_size=100, shuffle=True)
network = nn.Sequential(
    nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64), nn.BatchNorm1d(64), nn.Linear(64, 10)
)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)

# %%
# Every ten passes the excess of the network's loss over the certified minimum is split into its three parts.
seen = {}
for epoch in range(1, 121):
    for inputs, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    scheduler.step()
    if epoch % 10 == 0:
        seen[epoch] = ec.diagnose(network, loader, optimizer, scheduler=scheduler, progress=False)
last = seen[120]
print(last)

# %%
# The parts are never negative, and they add up. What the guarantee promises for the outputs holds at every point.
for diagnosis in seen.values():
    excess = diagnosis.excess
    assert diagnosis.law == "batch_norm"
    assert min(excess.unbalanced, excess.within, excess.between) > -1e-9
    assert excess.distance <= excess.guarantee
assert last.excess.total < 0.3 * seen[10].excess.total

with house_style("diagnose"):
    figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    parts = {"layers unbalanced": "unbalanced", "within classes": "within", "between classes": "between"}
    times = [diagnosis.decay_time.spent for diagnosis in seen.values()]
    axis.stackplot(times, *([getattr(d.excess, name) for d in seen.values()] for name in parts.values()), labels=parts)
    axis.set_xlabel("decay time")
    axis.set_ylabel("excess over the minimum")
    axis.legend()
plt.show()
