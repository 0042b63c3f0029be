"""JPEG: codec on tensors, colour conversion, quantisation cell of an image, and detection of JPEG lattices."""

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
