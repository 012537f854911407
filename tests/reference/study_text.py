"""Pieces of study files, and the study that a text describes."""

from encollapse.study.study import Study, parse

HEAD = 'name = "a"\ntitle = "t"\n'
DEFAULTS = '[defaults]\ndataset = "digits"\nweight_decay = 1e-3\nrelative_threshold = 0.3\nbias_decay = 0\n'
RUN = '[[runs]]\nencoding = "one-hot"\n'


def study(text: str) -> Study:
    return parse(text, "a.toml", origin="a.toml")
