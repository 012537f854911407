"""
For the author of a paper: figures and tables as they are printed
=================================================================

A figure for a paper has the true width of a column, letters of 7 to 8 points, and text that can be searched. A table is
a LaTeX ``tabular``. Every result gives both: ``plot(style="paper", out=...)`` and ``to_latex()``.
"""

import tempfile
from pathlib import Path

import numpy as np

import encollapse as ec

folder = Path(tempfile.mkdtemp())
encoding = ec.encodings.one_hot(10)
decays = {"weight_decay": 5e-3, "feature_decay": 1e-3}
run = ec.train.fit("digits", encoding, **decays, bias_decay=0.6, epochs=5, finish=300, progress=False)

# %%
# The transition that the theory predicts, in the width of one column. The ending of the file name picks the format, and
# the numbers of the curves stand beside it as a CSV file.
path = ec.ufm.bias_path(run.prediction.problem, np.geomspace(1e-2, 1e2, 61))
figure = path.plot(style="paper", width="one", out=folder / "transition.pdf")
for file in sorted(folder.iterdir()):
    print(f"{file.name:16} {file.stat().st_size:7} bytes")
assert (folder / "transition.pdf").read_bytes().startswith(b"%PDF")
assert (folder / "transition.csv").stat().st_size > 0
assert abs(figure.get_figwidth() - 3.35) < 1e-9

# %%
# Prediction against measurement on the trained network, as a table for booktabs.
table = run.comparison.to_latex()
print(table)
assert r"\begin{tabular}" in table
assert r"\toprule" in table

# %%
# What a sentence of the paper may claim is what these lines assert: the minimum is proved, and the trained class means
# are within one percent of it.
print(run.prediction.certificate)
print(f"Gram matrix of the class means: {100 * run.comparison.gram_error:.2f} % off")
assert run.prediction.certificate.holds
assert run.comparison.gram_error < 0.01
