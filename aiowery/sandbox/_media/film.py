"""Videos of a prompt's image: a camera that moves over it."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path

from PIL import Image

from aiowery.sandbox._media.draw import draw

FRAMES_A_SECOND = 12
_SHORTEST = 1.0
_LONGEST = 8.0
_ZOOM = 0.16


def film(prompt: str, index: int, width: int, height: int, seconds: float) -> bytes:
    """Return an MP4 (H.264, even dimensions, 1 to 8 seconds). Equal arguments give equal bytes. Blocks."""
    width, height = width + width % 2, height + height % 2
    picture = Image.open(io.BytesIO(draw(prompt, index, width, height))).convert("RGB")
    frames = round(FRAMES_A_SECOND * min(_LONGEST, max(_SHORTEST, seconds)))
    # The codec library moves the index to the front in a second pass, which needs a real file.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4")
        _write(path, picture, frames)
        return path.read_bytes()


def _write(path: Path, picture: Image.Image, frames: int) -> None:
    import av  # noqa: PLC0415 - loads a whole codec library, which few runs need

    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FRAMES_A_SECOND, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height = picture.size
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for number in range(frames):
            view = _view(picture, number / max(1, frames - 1))
            frame = av.VideoFrame.from_image(view)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _view(picture: Image.Image, moment: float) -> Image.Image:
    """Return the camera's view at a moment (0 to 1): it zooms in and drifts to the side."""
    width, height = picture.size
    share = 1 - _ZOOM * moment
    left = (1 - share) * (0.5 + 0.5 * math.sin(math.pi * moment)) * width
    top = (1 - share) * 0.5 * height
    box = (left, top, left + share * width, top + share * height)
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
