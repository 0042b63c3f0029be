"""JPEG: a codec on tensors, colour conversion, the cell of images that code alike, and lattices in pixels."""

from mriqf.jpeg.codec import (
    BLOCK,
    block_dct,
    block_idct,
    compress,
    compress_differentiable,
    compress_pixels,
    dct_basis,
    quantization_table,
    tables,
)

__all__ = [
    "BLOCK",
    "block_dct",
    "block_idct",
    "compress",
    "compress_differentiable",
    "compress_pixels",
    "dct_basis",
    "quantization_table",
    "tables",
]
