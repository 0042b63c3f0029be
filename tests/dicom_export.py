"""An export of DICOM studies with series of twenty kinds, made of any images: python tests/dicom_export.py FOLDER.

The command makes it of four slices that are moved copies of matplotlib's sample slice of a head.
"""

import gzip
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless, generate_uid

SMALL = get_testdata_file("MR_small.dcm")
NAME, IDENTITY = "Roe^Jane", "ID-4711"
AXIAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]
ENHANCED, CAPTURE, CT, REPORT = (
    "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.88.11",
)  # fmt: skip
SCORED = {
    "plain", "implicit", "big endian", "rle", "enhanced", "mosaic", "cine", "echoes", "nested", "white is lowest",
}  # fmt: skip
SKIPPED = {
    "localiser": "is a localiser",
    "planes": "has planes that are not parallel, as a localiser",
    "derived": "is derived from other images (DERIVED/SECONDARY/OTHER)",
    "map": "is a map or projection (ADC)",
    "phase": "is phase, not magnitude",
    "capture": "is a screen or secondary capture",
    "ct": "is CT, not MR",
    "report": "is SR, and no image",
}
FAILED = {"cut": "cannot be read", "deflated": "is deflated as a whole"}


def image(values, study, series, number, description, position, **attributes):
    """One MR image, of a patient with a name."""
    dataset = pydicom.dcmread(SMALL)
    values = np.asarray(values)
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.PixelData = values.astype("<i2").tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    about = {
        "PatientName": NAME, "PatientID": IDENTITY, "PatientBirthDate": "19700101", "AccessionNumber": "A4711",
        "StudyInstanceUID": study, "SeriesInstanceUID": series, "SeriesNumber": number,
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[study]),
        "SeriesDescription": description, "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "ImagePositionPatient": position, "ImageOrientationPatient": AXIAL, "PixelSpacing": [0.9, 0.8],
        "SliceThickness": 4.0, "MagneticFieldStrength": 1.5,
    }  # fmt: skip
    for keyword, value in (about | attributes).items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced(values, study, series, number):
    """All slices as the frames of one file."""
    dataset = image(values, study, series, number, "enhanced", [0, 0, 0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ENHANCED
    dataset.NumberOfFrames = len(values)

    def part(keyword, **attributes):
        item = Dataset()
        for key, value in attributes.items():
            setattr(item, key, value)
        return keyword, Sequence([item])

    shared = Dataset()
    for keyword, sequence in (
        part("PlaneOrientationSequence", ImageOrientationPatient=AXIAL),
        part("PixelMeasuresSequence", PixelSpacing=[0.9, 0.8], SliceThickness=4.0),
    ):
        setattr(shared, keyword, sequence)
    frames = []
    for k in range(len(values)):
        frame = Dataset()
        for keyword, sequence in (
            part("PlanePositionSequence", ImagePositionPatient=[0, 0, 4.0 * k]),
            part("FrameContentSequence", StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[k + 1]),
        ):
            setattr(frame, keyword, sequence)
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


def tiled(values):
    """Slices as the tiles of one image, empty where there are too few."""
    side = int(np.ceil(np.sqrt(len(values))))
    n, h, w = values.shape
    room = np.zeros((side * side, h, w), values.dtype)
    room[:n] = values
    return room.reshape(side, side, h, w).swapaxes(1, 2).reshape(side * h, side * w)


def make_export(root, images):
    """Write the export; gives the description of each series by its number."""
    images = np.asarray(images)
    h, w = images.shape[1:]
    studies = [generate_uid(), generate_uid()]
    numbers = {}

    def series(kind, slices, study=0, folder=None, positions=None, **attributes):
        number = len(numbers) + 1
        numbers[number] = kind
        uid = generate_uid()
        place = root / NAME / f"study{study}" / (folder or f"s{number}")
        place.mkdir(parents=True, exist_ok=True)
        for k, values in enumerate(slices):
            position = [0, 0, 4.0 * k] if positions is None else positions[k]
            own = {key: value[k] if isinstance(value, tuple) else value for key, value in attributes.items()}
            made = image(values, studies[study], uid, number, kind, position, InstanceNumber=k + 1, **own)
            yield made, place / f"IM{k:04d}"

    def write(items):
        for dataset, path in items:
            dataset.save_as(path)

    write(series("plain", images))
    for dataset, path in series("implicit", images):
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        dataset.save_as(path)
    for dataset, path in series("big endian", images):
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        list(dataset.iterall())  # decoded, so that all is written anew
        dataset["PixelData"].VR = "OW"
        pydicom.dcmwrite(path, dataset)
    for dataset, path in series("rle", images):
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    number = len(numbers) + 1
    numbers[number] = "enhanced"
    (root / NAME / "study0").mkdir(exist_ok=True)
    enhanced(images, studies[0], generate_uid(), number).save_as(root / NAME / "study0" / "enhanced")
    around = np.ceil(np.sqrt(len(images))) - 1  # tiles, by which a mosaic seems larger than a slice
    for dataset, path in series("mosaic", [tiled(images)], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"],
                                positions=[[-0.4 * w * around, -0.45 * h * around, 0]]):  # fmt: skip
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0A, "US", len(images))
        dataset.save_as(path)
    again = [*images, *images]
    places = [[0, 0, 4.0 * (k % len(images))] for k in range(len(again))]
    write(series("cine", again, positions=places))
    write(
        series(
            "echoes", again, positions=places, EchoTime=tuple(20 + 60 * (k // len(images)) for k in range(len(again)))
        )
    )
    write(series("nested", images, folder="a/b/c", study=1))
    write(series("white is lowest", images.max() - images, study=1, PhotometricInterpretation="MONOCHROME1"))
    write(series("localiser", images, ImageType=["ORIGINAL", "PRIMARY", "M", "LOCALIZER"]))
    write(series("planes", images[:2], ImageOrientationPatient=(AXIAL, SAGITTAL)))
    write(series("derived", images, ImageType=["DERIVED", "SECONDARY", "OTHER"]))
    write(series("map", images, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]))
    write(series("phase", images, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]))
    write(series("capture", images[:1], SOPClassUID=CAPTURE, study=1))
    write(series("ct", images, Modality="CT", SOPClassUID=CT, study=1))
    for dataset, path in series("report", images[:1], Modality="SR", SOPClassUID=REPORT, study=1):
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(dataset, keyword)
        dataset.save_as(path)
    for dataset, path in series("cut", images[:1], study=1):
        dataset.save_as(path)
        path.write_bytes(path.read_bytes()[: -h * w])
    for dataset, path in series("deflated", images[:1], study=1):
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    (root / NAME / "notes.txt").write_text("no DICOM")
    (root / NAME / "study0" / "copy").write_bytes((root / NAME / "study0" / "s1" / "IM0000").read_bytes())
    return numbers


def sample_slices(count):
    """Slices of 256 × 256, each a moved copy of matplotlib's sample slice of a head."""
    packed = Path(matplotlib.get_data_path(), "sample_data", "s1045.ima.gz").read_bytes()
    image = np.frombuffer(gzip.decompress(packed), ">u2").reshape(256, 256).astype(np.int16)
    return np.stack([np.roll(image, 4 * k, 0) for k in range(count)])


if __name__ == "__main__":
    make_export(Path(sys.argv[1]), sample_slices(4))
