"""What each class asks of the network: the encodings, and how to decode them."""

from encollapse.encodings.affine import label_smoothing, one_hot, one_vs_rest, scaled_one_hot
from encollapse.encodings.catalogue import by_name, names
from encollapse.encodings.circular import circular
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.error_correcting import error_correcting
from encollapse.encodings.from_targets import from_targets
from encollapse.encodings.hadamard import hadamard
from encollapse.encodings.hierarchical import hierarchical
from encollapse.encodings.multi_label import MultiLabel, multi_label
from encollapse.encodings.ordinal import ordinal
from encollapse.encodings.random_code import random
from encollapse.encodings.similarity import from_similarity
from encollapse.encodings.simplex import simplex
from encollapse.encodings.spherical import spherical

__all__ = [
    "Encoding",
    "MultiLabel",
    "by_name",
    "circular",
    "error_correcting",
    "from_similarity",
    "from_targets",
    "hadamard",
    "hierarchical",
    "label_smoothing",
    "multi_label",
    "names",
    "one_hot",
    "one_vs_rest",
    "ordinal",
    "random",
    "scaled_one_hot",
    "simplex",
    "spherical",
]
