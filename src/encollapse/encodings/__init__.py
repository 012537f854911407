"""What each class asks of the network: the encodings, and how to decode them."""

from encollapse.encodings.affine import label_smoothing, one_hot, one_vs_rest, scaled_one_hot
from encollapse.encodings.catalogue import by_name, names
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.ordinal import ordinal
from encollapse.encodings.random_code import random
from encollapse.encodings.simplex import simplex

__all__ = [
    "Encoding",
    "by_name",
    "label_smoothing",
    "names",
    "one_hot",
    "one_vs_rest",
    "ordinal",
    "random",
    "scaled_one_hot",
    "simplex",
]
