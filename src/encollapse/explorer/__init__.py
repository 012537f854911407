"""The explorer: a page on this machine where the frame is seen turning."""

from encollapse.explorer.export import export
from encollapse.explorer.launch import explore, serving
from encollapse.explorer.screenshot import still

__all__ = ["explore", "export", "serving", "still"]
