"""
Measure any network
===================

``measure_model`` takes any PyTorch module and any loader of (inputs, labels). It runs the network once, finds the last
linear layer by itself, and leaves the module as it was. Here: a small network of plain PyTorch on real digits, with
cross-entropy and no regularization of the features at all.
"""

import matplotlib.pyplot as plt
import torch

import encollapse as ec
from encollapse.report.style import DIVERGING, house_style

digits = ec.data.load("digits")
inputs = torch.tensor(digits.train.inputs).flatten(1)
labels = torch.tensor(digits.train.labels)

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(64, 128),
    torch.nn.ReLU(),
    torch.nn.Linear(128, 32),
    torch.nn.ReLU(),
    torch.nn.Linear(32, digits.num_classes),
)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=128, shuffle=True)

before = ec.measure.measure_model(network, loader, progress=False)
optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
for _ in range(40):
    for batch, target in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(batch), target).backward()
        optimizer.step()
after = ec.measure.measure_model(network, loader, progress=False)
print(after)

# %%
# Training collapses the classes, by every measure of within-class spread, and classification becomes nearest
# class mean.
for name in ("nc1_pinv", "nc1_trace_ratio", "cdnv", "vci"):
    print(f"{name:<16} {getattr(before, name):10.4f}  ->  {getattr(after, name):.4f}")
    assert getattr(after, name) < getattr(before, name)
assert after.nc4_agreement > 0.95 > before.nc4_agreement

# %%
# The rest takes longer. The classifier has begun to follow the class means, but their frame is no simplex yet: the
# cosines about the mean differ from :math:`-1/(K-1)` by as much as those of a random network. Forty passes of
# cross-entropy make classes compact. The frame is what further training, or a regularization of the features, brings.
with house_style("any network"):
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.4), layout="constrained")
    for panel, measured, title in zip(axes, (before, after), ("before training", "after"), strict=True):
        image = panel.imshow(measured.geometry.cosines(centered=True), cmap=DIVERGING, vmin=-1, vmax=1)
        panel.set_xticks(range(10))
        panel.set_yticks(range(10))
        panel.set_title(title)
    figure.colorbar(image, ax=axes, label="cosine of centered class means")
plt.show()
print(f"nc3_self_duality {before.nc3_self_duality:9.3f}  ->  {after.nc3_self_duality:.3f}")
print(f"nc2_max_angle    {before.nc2_max_angle:9.3f}  ->  {after.nc2_max_angle:.3f}")
assert after.nc3_self_duality < before.nc3_self_duality
assert after.nc2_max_angle > 0.1

# %%
# The identity :math:`\Sigma_T = \Sigma_W + \Sigma_B` ties two of them together, whatever the network.
ratio, share = after.nc1_trace_ratio, after.nc1_normalized
assert abs(share - ratio / (1 + ratio)) < 1e-12
