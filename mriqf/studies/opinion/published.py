"""Published correlations of QAIRN's gates with human opinion.

References
----------
Gedik, Venkataramanan, Bovik, Joint deep image restoration and unsupervised quality assessment, 2023,
arXiv:2311.16372, table II.
"""

from typing import NamedTuple


class Printed(NamedTuple):
    """PCC, SRCC and KCC of QAIRN's γ1, γ2, γ3 on the JPEG images of a database."""

    database: str
    names: tuple[str, ...]
    """Names of folders that hold the database: letters and digits."""
    sizes: tuple[int, ...]
    """Images of folders that hold it all, or but for hidden references or one photograph."""
    whole: str
    """Description of all its images."""
    rows: tuple[tuple[float, float, float], ...]


PRINTED = (
    Printed(
        "LIVE-IQA",
        ("live", "liveiqa", "liver2"),
        (175, 233),
        "175 JPEG images, and 58 undistorted ones among them",
        ((0.099, 0.076, 0.051), (0.870, 0.879, 0.695), (0.267, 0.203, 0.135)),
    ),
    Printed(
        "CSIQ",
        ("csiq",),
        (150,),
        "150 JPEG images",
        ((-0.233, -0.216, -0.148), (0.859, 0.832, 0.628), (0.446, 0.428, 0.288)),
    ),
    Printed(
        "TID2013",
        ("tid", "tid2013"),
        (120, 125),
        "125 JPEG images of 25 references",
        ((0.070, 0.118, 0.084), (0.880, 0.862, 0.658), (0.073, 0.136, 0.078)),
    ),
)
"""The paper's table II."""
