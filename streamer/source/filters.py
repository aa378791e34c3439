"""FFmpeg's filters in a row."""

from collections.abc import Mapping
from fractions import Fraction

import av
from av.filter import Graph


def filter_chain(frame: av.VideoFrame, *filters: tuple[str, Mapping[str, str]]) -> Graph:
    """Return a graph of filters, by name with their options, for frames like this one. Raises FFmpegError."""
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base=str(frame.time_base or Fraction(1, 90_000)),
        pixel_aspect="1/1",
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    nodes = [graph.add(name, **options) for name, options in filters]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph
