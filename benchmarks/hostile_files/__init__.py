"""Small valid files of every format, ways to damage them, and files made to do harm."""

from benchmarks.hostile_files.crafted import CRAFTED
from benchmarks.hostile_files.damage import DAMAGES, damage
from benchmarks.hostile_files.makers import Trap
from benchmarks.hostile_files.readers import READERS, read_images, read_raw
from benchmarks.hostile_files.valid import COMMANDS, IMAGES, KSPACE, OTHERS, RAW, STACK

__all__ = [
    "COMMANDS",
    "CRAFTED",
    "DAMAGES",
    "IMAGES",
    "KSPACE",
    "OTHERS",
    "RAW",
    "READERS",
    "STACK",
    "Trap",
    "damage",
    "read_images",
    "read_raw",
]
