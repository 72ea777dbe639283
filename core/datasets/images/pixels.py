"""Pixels: one opened image decoded, upright, opaque, and brought to a size and a number of channels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

Shape = tuple[int, int, int]  # height, width, channels (1: grey, 3: RGB)

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_SIDEWAYS = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


def is_grey(image: Image.Image) -> bool:
    """Return whether an image's mode is grey."""
    return image.mode in _GREY


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an opened image turned upright, without decoding it."""
    turn = _turn(image) if "exif" in image.info else None  # or a PNG without EXIF would be decoded
    return (image.height, image.width) if turn in _SIDEWAYS else image.size


def decode(image: Image.Image, shape: Shape) -> tuple[np.ndarray, set[str]]:
    """Return the pixels as uint8 [H, W, C], and what was changed: moving, turned, deep, transparent, resized.

    Raises what the decoder raises when the image is broken.
    """
    height, width, channels = shape
    changes = set()
    if image.format in ("GIF", "WEBP", "PNG") and getattr(image, "is_animated", False):
        changes.add("moving")
    if image.format in ("JPEG", "MPO"):  # a large photo is decoded at a fraction of its size
        image.draft(image.mode, (2 * max(height, width),) * 2)
    image.load()
    turn = _turn(image)
    flat = _opaque(image, changes)
    if turn is not None:
        changes.add("turned")
        flat = flat.transpose(turn)
    if flat.size != (width, height):
        changes.add("resized")
    values = _resize(flat.convert("L" if channels == 1 else "RGB"), width, height)
    return values.reshape(shape), changes


def png(values: np.ndarray) -> bytes:
    """Return an image uint8 [H, W, C] as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(stream, "PNG")
    return stream.getvalue()


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that the image's EXIF data asks for; wrong EXIF data is ignored."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF in a complete image
        return None


def _opaque(image: Image.Image, changes: set[str]) -> Image.Image:
    """Return the image in mode L or RGB, 8 bits deep, on white."""
    if image.mode.startswith(("I", "F")):
        changes.add("deep")
        values = np.asarray(image, dtype=np.float32)
        return Image.fromarray((values / 257 if values.max(initial=0) > 255 else values).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        if layered.getchannel("A").getextrema() != (255, 255):
            changes.add("transparent")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("L" if is_grey(image) else "RGB")


def _resize(image: Image.Image, width: int, height: int) -> np.ndarray:
    """Return the whole image within the size, its aspect ratio unchanged, its edge repeated to fill the rest."""
    if image.size == (width, height):
        return np.asarray(image)
    scale = min(width / image.width, height / image.height)
    inner = [max(1, min(full, round(own * scale))) for own, full in zip(image.size, (width, height), strict=True)]
    values = np.asarray(image.resize((inner[0], inner[1]), Image.Resampling.BICUBIC))
    left_x, top_y = (width - inner[0]) // 2, (height - inner[1]) // 2
    around = [(top_y, height - inner[1] - top_y), (left_x, width - inner[0] - left_x), (0, 0)]
    return np.pad(values, around[: values.ndim], mode="edge")
