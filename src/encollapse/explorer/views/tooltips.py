"""What every quantity on the page means: a sentence, its formula, where it comes from."""

from __future__ import annotations

from encollapse.metrics import FAMILIES, METRICS

_MASSION = "Massion, Makhlouf & Massart 2026"
_PAPYAN = "Papyan, Han & Donoho 2020"
_SAXE = "Saxe, McClelland & Ganguli 2014"

QUANTITIES: dict[str, tuple[str, str, str, str]] = {
    "encoding": (
        "Class encoding",
        "The vector that the network is trained to output for each class. It decides the geometry of the features.",
        "E = (e_1 … e_K), one codeword a column, q × K",
        _MASSION,
    ),
    "classes": ("Classes", "How many classes there are.", "K", _PAPYAN),
    "counts": (
        "Class counts",
        "Samples of each class. Rare classes are pulled together first when regularization grows.",
        "n_k,  π_k = n_k / N",
        "Fang, He, Long & Su 2021",
    ),
    "weight_decay": ("Weight decay λ_W", "Regularization of the last layer's weight.", "λ_W/2 · |W|²", _MASSION),
    "feature_decay": (
        "Feature decay λ_H",
        "Regularization of every feature vector, summed over all samples.",
        "λ_H/2 · Σ |h_ki|²",
        _MASSION,
    ),
    "bias_decay": (
        "Bias decay λ_b",
        "Regularization of the last layer's bias. At 0 the bias is free and takes up the whole label mean; at ∞ there "
        "is no bias, and the features have to carry it.",
        "λ_b/2 · |b|²",
        _MASSION,
    ),
    "hold": (
        "Keep t",
        "With more classes or samples the same decays learn less, and in the end nothing. With this box checked both "
        "decays are scaled so that t stays, and with it what is learned.",
        "t = c √K = √(K N λ_W λ_H)",
        _MASSION,
    ),
    "loss": (
        "Loss",
        "Squared error against the codewords, or cross-entropy against codewords that are distributions.",
        "½|Wh + b − e_k|²   or   −Σ_j e_kj log softmax(Wh + b)_j",
        "Zhu et al. 2021",
    ),
    "depth": (
        "Depth",
        "Linear layers on top of the free features. With more than one the transition becomes a jump.",
        "outputs W_M ··· W_1 h + b",
        "Tirer & Bruna 2022",
    ),
    "features": (
        "Features",
        "Linear features have entries of any sign. ReLU features have none below zero, so class "
        "means cannot point away from each other.",
        "h ∈ ℝ^d   or   h ≥ 0",
        "Tirer & Bruna 2022",
    ),
    "feature_dim": (
        "Feature dimension",
        "If left empty, it is large enough for every direction. Below the rank of the minimizer, "
        "directions have to be given up.",
        "d",
        "Jiang et al. 2024",
    ),
    "recipe": (
        "Recipe",
        "One decay on everything: the weight decay of a usual training, on every parameter of a network whose head "
        "follows a batch normalization. It sets the feature decay. Separate decays belong to theory and "
        "to controlled experiments.",
        "λ_H = λ_W/N,  λ_b = λ_W",
        "Jacot et al. 2024",
    ),
    "beside": (
        "Compare with",
        "A second encoding with the same classes, counts and decays. Both frames turn together.",
        "E and E′ at the same n_k, λ_W, λ_H and λ_b",
        _MASSION,
    ),
    "spread": (
        "Spread of the samples",
        "How much the samples of a class differ before the last two layers, as a share of what tells classes apart. "
        "Above 0 the frame shows the exact minimizer of these layers over such samples, with the samples about their "
        "class means. The other panels show the limit without spread, in which all samples of a class agree.",
        "h = V φ(x),  φ = (e_k + s ξ)/√n_k,  λ_W/2 |W|² + λ_H/2 |V|²",
        "Tirer & Bruna 2022",
    ),
    "frame": (
        "The frame",
        "Class means (rods with dots) and classifier rows (diamonds) in three directions of feature space. By "
        "default the vertical one is the mean of all features: a simplex frame lies flat, and opens like an umbrella "
        "as the features take up the label mean. Each picture is turned to the last one.",
        "m_k and w_k, projected; orthogonal Procrustes between pictures",
        "Schönemann 1966",
    ),
    "gram": (
        "Gram matrices",
        "Inner products or cosines of every pair of class means, and of classifier rows: the geometry, free of the "
        "rotation of feature space. Centered: about the mean.",
        "MᵀM = √(N λ_W/λ_H) diag(n)^−½ |Z| diag(n)^−½,   WWᵀ = √(N λ_H/λ_W) (ZZᵀ)^½",
        _MASSION,
    ),
    "mean_cosine": (
        "Mean cosine",
        "Average cosine between two class means: −1/(K−1) for a simplex frame, 0 for an orthogonal one. The band "
        "reaches from the least to the largest pair.",
        "⟨m_k, m_l⟩ / (|m_k| |m_l|), averaged over k ≠ l",
        _MASSION,
    ),
    "bias_norm": (
        "Bias",
        "Length of the optimal bias. It takes up what of the label mean the features do not.",
        "b = (ē − Zu) / (1 + λ_b)",
        _MASSION,
    ),
    "critical": (
        "Critical bias decay λ_b*",
        "Up to it the bias takes up the mean label and the class means stay as with a free bias; above it the frame "
        "turns. Exact, from the optimality conditions.",
        "balanced one-hot: λ_b* = t/(1 − t),  t = c√K",
        _MASSION,
    ),
    "threshold": (
        "Threshold c",
        "Directions of the labels with a singular value below it are not learned.",
        "c = √(N λ_W λ_H)",
        "Cai, Candès & Shen 2010",
    ),
    "t": (
        "Relative threshold t",
        "For balanced one-hot labels: at 1 and above nothing is learned at all.",
        "t = c √K",
        _MASSION,
    ),
    "spectrum": (
        "Singular values",
        "Light bars show what the labels offer in each direction, once the bias is subtracted. Dark bars "
        "show what is learned, the part "
        "above the threshold.",
        "σ_i(Z) = (σ_i(A − b uᵀ) − c)₊",
        "Cai, Candès & Shen 2010",
    ),
    "rank": (
        "Rank",
        "Directions that are learned: the smallest feature dimension that holds the minimizer.",
        "rank Z",
        _MASSION,
    ),
    "samples": ("Samples", "All samples of all classes.", "N = Σ n_k", ""),
    "loss_value": ("Minimum", "The least value of the objective.", "min F(W, H, b)", _MASSION),
    "certificate": (
        "Certificate",
        "Evidence that does not rely on the solver: a lower bound of the minimum, computed from the dual problem.",
        "⟨Y, A⟩ − ½|Y|² − |Yu|²/(2λ_b),  |Y|_op ≤ c",
        _MASSION,
    ),
    "path": (
        "The path of training",
        "Class means (rods with dots) and classifier rows (diamonds) while the model is trained by gradient flow from "
        "a small random start. The three directions stay those of the last picture, and lengths are relative to it.",
        "dW/dt = −∂F/∂W,  dM′/dt = −∂F/∂M′,  db/dt = −∂F/∂b,  M′ = M diag(√n)",
        _SAXE,
    ),
    "time": (
        "Time",
        "Learning rate times the number of steps of gradient descent, in the limit of small steps. The axis is "
        "logarithmic. The slider begins at the random start, t = 0.",
        "t = η · steps",
        _SAXE,
    ),
    "start_scale": (
        "Size of the start",
        "Standard deviation of the random weight and class means at the start, before division by √d. A smaller start "
        "waits longer and separates the directions more clearly.",
        "W, M′ ~ s/√d · N(0, 1),  d = min(q, K)",
        _SAXE,
    ),
    "start_seed": (
        "Random seed",
        "Number that decides the random start. The same number gives the same path.",
        "s = 0, 1, 2, …",
        _SAXE,
    ),
    "modes": (
        "What is learned, and when",
        "Singular values of the outputs, weighted by class frequency. From a small start they rise one after another, "
        "those of the strongest directions of the labels first, up to their values at the minimum.",
        "σ_i(W M diag(√π)) at time t",
        _SAXE,
    ),
    "learned": (
        "Directions learned",
        "How many singular values of the outputs have reached half of their value at the minimum.",
        "number of i with σ_i(t) ≥ σ_i(∞)/2",
        _SAXE,
    ),
    "loss_now": ("Loss", "The objective with its decays at this time.", "F(W, M, b)", _MASSION),
    "excess": (
        "Loss above the minimum",
        "The objective less its certified minimum. Near the end it falls exponentially, at twice the slowest rate.",
        "F(t) − min F  ∼  exp(−2 μ t)",
        "Han, Papyan & Donoho 2022",
    ),
    "rate": (
        "Slowest rate",
        "The smallest curvature of the objective at the minimum, rotations of the features left aside. It decides how "
        "long the end of training takes.",
        "μ = least eigenvalue of ∇²F at the minimum; distances ∼ exp(−μ t), excess ∼ exp(−2 μ t)",
        "Han, Papyan & Donoho 2022",
    ),
    "growth": (
        "Growth rate",
        "How fast small layers grow along a direction in which the labels have the singular value σ. It is positive "
        "exactly if σ is above the threshold c, so the other directions are never learned.",
        "g = √( ((λ_W − λ_H)/2)² + σ²/N ) − (λ_W + λ_H)/2",
        _SAXE,
    ),
    "conserved": (
        "What is conserved",
        "Without decay gradient flow leaves this difference of two matrices as it is: the layers grow together. With "
        "decay it changes as the formula says; for equal decays λ it shrinks as exp(−2 λ t).",
        "d/dt (WᵀW − M′M′ᵀ) = −2 (λ_W WᵀW − λ_H M′M′ᵀ)",
        "Du, Hu & Lee 2018",
    ),
    "balance": (
        "Imbalance of the layers",
        "Difference of the two terms that decay contributes, relative to their sizes. It is 0 at every stationary "
        "point, where what is conserved no longer moves.",
        "|λ_W WᵀW − λ_H M′M′ᵀ| / (|λ_W WᵀW| + |λ_H M′M′ᵀ|)",
        _MASSION,
    ),
    "target": (
        "Target geometry",
        "Inner products of the class means that are wanted. Any positive semidefinite matrix can be had, whatever "
        "the class counts.",
        "E diag(u) = U S Vᵀ + c U Vᵀ + b uᵀ",
        "docs: Designing encodings",
    ),
    "size": (
        "Size of the target",
        "The target's shape is what matters; its size decides how far above the threshold it is learned.",
        "Γ → s·Γ",
        "docs: Designing encodings",
    ),
    "samples_seen": (
        "Classes over the epochs",
        "Class means (rods with dots), classifier rows (diamonds) and samples (faint dots) of the network while it was "
        "trained. As NC1 falls, the samples of a class close in on their mean. The longest mean has the same length in "
        "every picture.",
        "NC1 = tr Σ_W / tr Σ_B",
        _PAPYAN,
    ),
    "gram_error": (
        "Gram error",
        "Distance between a network's Gram matrix and the predicted one, relative to the latter.",
        "|G_meas − G_pred|_F / |G_pred|_F",
        "docs: Measuring",
    ),
    "stationarity": (
        "Stationarity",
        "How far the training is from a stationary point of its objective; 0 at one.",
        "relative gradient and negative curvature",
        "docs: Studies",
    ),
}
"""Title, sentence, formula and reference of each quantity, by the name that the page gives it."""


def tooltips() -> dict[str, dict[str, str]]:
    """Texts of every tooltip by the name of its quantity, those of the metrics included."""
    texts = {
        name: {"title": title, "text": text, "formula": formula, "reference": reference}
        for name, (title, text, formula, reference) in QUANTITIES.items()
    }
    for metric in METRICS.values():
        if metric.citation and not metric.detail:
            texts[metric.name] = {
                "title": metric.name,
                "text": FAMILIES[metric.family].question,
                "formula": metric.meaning,
                "reference": metric.citation,
            }
    return texts
