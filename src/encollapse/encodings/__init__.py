"""What each class asks of the network: the encodings, and how to decode them."""

from encollapse.encodings.binary import error_correcting, hadamard
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.lines import grassmannian, grassmannian_bound
from encollapse.encodings.registry import by_name, names
from encollapse.encodings.relations import from_similarity, hierarchical, ordinal
from encollapse.encodings.soft_labels import soft_ordinal
from encollapse.encodings.spherical import circular, random, spherical
from encollapse.encodings.structured import label_smoothing, one_hot, one_vs_rest, scaled_one_hot, simplex
from encollapse.encodings.targets import MultiLabel, from_targets, multi_label, pick_all_labels
from encollapse.encodings.ternary import ternary

__all__ = [
    "Encoding",
    "MultiLabel",
    "by_name",
    "circular",
    "error_correcting",
    "from_similarity",
    "from_targets",
    "grassmannian",
    "grassmannian_bound",
    "hadamard",
    "hierarchical",
    "label_smoothing",
    "multi_label",
    "names",
    "one_hot",
    "one_vs_rest",
    "ordinal",
    "pick_all_labels",
    "random",
    "scaled_one_hot",
    "simplex",
    "soft_ordinal",
    "spherical",
    "ternary",
]
