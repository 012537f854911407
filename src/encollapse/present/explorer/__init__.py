"""The explorer: a page on this machine where the frame is seen turning."""

from encollapse.present.explorer.launch import explore, serving
from encollapse.present.explorer.still import still

__all__ = ["explore", "serving", "still"]
