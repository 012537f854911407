"""
For a student: three classes that you can see
=============================================

What is neural collapse? Three kinds of iris flowers are enough to see it. A network whose last layer reads two numbers
has features in the plane, so that every sample is a point, and the picture needs no projection.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_iris
from torch import nn

import encollapse as ec
from encollapse.report.style import house_style

torch.manual_seed(0)
flowers = load_iris()
inputs = torch.tensor((flowers.data - flowers.data.mean(0)) / flowers.data.std(0), dtype=torch.float32)
labels = torch.tensor(flowers.target)
body = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
head = nn.Linear(2, 3)
weight_decay = feature_decay = 2e-2

# %%
# The loss is the squared error of the outputs against one-hot labels, with a penalty on the last weights and on the
# features. This is the objective of the *unrestricted feature model*, and the network is one way to minimize it.
onehot = torch.eye(3)[labels]
optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=3e-3)
steps = (0, 30, 1500)
seen = {}
for step in range(steps[-1] + 1):
    features = body(inputs)
    error = 0.5 * (head(features) - onehot).square().sum(1).mean()
    penalty = 0.5 * weight_decay * head.weight.square().sum() + 0.5 * feature_decay * features.square().sum(1).mean()
    if step in steps:
        seen[step] = features.detach().numpy().copy()
    optimizer.zero_grad()
    (error + penalty).backward()
    optimizer.step()

# %%
# The clouds shrink. The class means, marked by lines from the common mean, go to the corners of an equilateral
# triangle, which is the simplex equiangular tight frame of three classes.
with house_style("student"):
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.0), layout="constrained")
    for axis, (step, points) in zip(axes, seen.items(), strict=True):
        middle = points.mean(0)
        for kind, color in enumerate(("#0072b2", "#d55e00", "#009e73")):
            cloud = points[flowers.target == kind]
            axis.plot(*cloud.T, ".", color=color, markersize=4, alpha=0.6)
            axis.plot(*np.stack([middle, cloud.mean(0)]).T, color=color, linewidth=2)
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_title(f"after {step} steps")
plt.show()

# %%
# The numbers say the same. NC1 compares the size of the clouds with the distance between their means, and the cosine
# of the centered means of an equilateral triangle is :math:`-1/2`.
collapse = {step: ec.measure.collapse(points, flowers.target) for step, points in seen.items()}
for step, measured in collapse.items():
    cosines = measured.geometry.cosines(centered=True)[np.triu_indices(3, 1)]
    print(f"step {step:5}   NC1 {measured.nc1_trace_ratio:8.4f}   cosines {np.round(cosines, 2)}")
first, last = collapse[0], collapse[steps[-1]]
assert last.nc1_trace_ratio < 0.1 * first.nc1_trace_ratio
angles = last.geometry.cosines(centered=True)[np.triu_indices(3, 1)]
assert np.abs(angles + 0.5).max() < 0.1

# %%
# The theory knows the triangle before any training. ``Problem`` takes the penalty of one sample's features as a term of
# the sum, so that the mean above becomes ``feature_decay / N``.
problem = ec.ufm.Problem(
    ec.encodings.one_hot(3), counts=50, weight_decay=weight_decay, feature_decay=feature_decay / 150, bias_decay=0.0
)
predicted = ec.ufm.solve(problem)
print(predicted.certificate)
assert predicted.certificate.holds
np.testing.assert_allclose(predicted.geometry.cosines(centered=True)[np.triu_indices(3, 1)], -0.5, atol=1e-9)
