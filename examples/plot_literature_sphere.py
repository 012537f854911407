"""
Published results: unit features at a temperature
=================================================

Features and classifier rows on the unit sphere, under cross-entropy of their cosines divided by a temperature. With
room for it the minimum is a simplex :cite:p:`yaras2022`. With more classes it tends, as the temperature falls, to a
softmax code, whose one-vs-rest margin is largest :cite:p:`jiang2024`: in the plane that is a regular polygon.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import encollapse as ec


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:48} {error:.1e}")
    assert error <= below


wide = ec.ufm.solve_on_sphere(7, 6, temperature=0.1)
gram = wide.weight @ wide.class_means
claim("yaras2022", "unit features: simplex", float(np.abs(gram - ec.simplex_etf_gram(7)).max()), below=1e-12)

# %%
# Seven classes in the plane
# --------------------------

temperatures = np.array([0.5, 0.2, 0.1, 0.05, 0.02])
margins = [ec.ufm.solve_on_sphere(7, 2, temperature=float(t)).one_vs_rest_margin for t in temperatures]
largest = 1 - math.cos(2 * math.pi / 7)
claim("jiang2024", "seven classes in the plane: margin at 0.02", abs(margins[-1] / largest - 1), below=0.01)

figure, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
axes.semilogx(temperatures, margins, "o-", color="#0072b2", label="minimizer")
axes.axhline(largest, color="0.5", linestyle=":", label="polygon")
axes.set(xlabel="temperature", ylabel="one-vs-rest margin", ylim=(0, 1.2 * largest))
axes.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
axes.minorticks_off()
axes.legend()
plt.show()
