"""Whether pydicom finds in written DICOM files the voxels that were meant.

    python test/reference/check_dicom_out.py FOLDER

FOLDER holds written files and, in expected.json, what they should say: where the source images are, for each slice of
the volume its file and frame, for each segment its name and the file of its voxels (one byte a voxel, i fastest), and
where they matter that of its fractions, and its codes. Frames and contours are put in their place by the geometry of
the source as pydicom reads it, contours filled by scikit-image. Says what differs and ends with 1 where anything
does.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pydicom
from skimage.draw import polygon

FAR = 1e-4  # mm


class Source:
    """The frames of the source by instance and number."""

    def __init__(self, folder: Path):
        self.images = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                image = pydicom.dcmread(path, stop_before_pixels=True, force=True)
                self.images[image.SOPInstanceUID] = image

    def plane(self, instance: str, frame: int):
        """Position of the first pixel, unit vectors right and down, distance of columns and rows."""
        image = self.images[instance]
        groups = [image]
        if "PerFrameFunctionalGroupsSequence" in image:
            own, shared = image.PerFrameFunctionalGroupsSequence[frame - 1], image.SharedFunctionalGroupsSequence[0]
            groups = [group[0].value[0] for group in (list(own), list(shared)) for group in [[e] for e in group]]

        def find(name):
            return np.array(next(group.get(name) for group in groups if name in group), float)

        spacing = find("PixelSpacing")
        directions = find("ImageOrientationPatient")
        return find("ImagePositionPatient"), directions[:3], directions[3:], spacing[1], spacing[0]


def expect(condition, message: str) -> None:
    if not condition:
        raise SystemExit(message)


def reference(item) -> tuple[str, int]:
    return item.ReferencedSOPInstanceUID, int(item.get("ReferencedFrameNumber", 1) or 1)


def check_references(dataset, source: Source) -> None:
    """Every UID that the file refers to is one of the source's."""
    for element in dataset.iterall():
        if element.keyword == "ReferencedSOPInstanceUID":
            study = next(iter(source.images.values())).StudyInstanceUID
            expect(element.value in source.images or element.value == study, f"{element.value} is not in the source")
    first = next(iter(source.images.values()))
    expect(dataset.StudyInstanceUID == first.StudyInstanceUID, "another study")
    if "FrameOfReferenceUID" in dataset:
        expect(dataset.FrameOfReferenceUID == first.FrameOfReferenceUID, "another frame of reference")
    series = dataset.get("ReferencedSeriesSequence")
    if series is not None:
        expect(series[0].SeriesInstanceUID == first.SeriesInstanceUID, "another series")
        listed = {item.ReferencedSOPInstanceUID for item in series[0].ReferencedInstanceSequence}
        expect(listed <= set(source.images), "an instance that is not in the source")


def seg_volumes(dataset, source: Source, slices, shape) -> dict[int, np.ndarray]:
    """Values by segment number, (k, j, i); of a label map all are under 0."""
    pixels = dataset.pixel_array.reshape(int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
    is_map = dataset.SegmentationType == "LABELMAP"
    shared = dataset.SharedFunctionalGroupsSequence[0]
    volumes = {}
    indices = []
    for frame, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        image = reference(groups.DerivationImageSequence[0].SourceImageSequence[0])
        k = slices.index(image)
        if "FrameOfReferenceUID" in dataset:
            position, right, down, dx, dy = source.plane(*image)
            own = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
            expect(np.abs(own - position).max() < FAR, f"slice {k} lies elsewhere")
            directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
            expect(np.abs(directions - np.r_[right, down]).max() < 1e-6, "another orientation")
            spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
            expect(np.abs(spacing - [dy, dx]).max() < 1e-6, "another size of pixels")
        number = 0 if is_map else groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        expect(frame.any(), f"nothing in a frame of segment {number}")
        volume = volumes.setdefault(number, np.zeros(shape, pixels.dtype))
        expect(not volume[k].any(), f"two frames for slice {k} of segment {number}")
        volume[k] = frame
        index = list(np.atleast_1d(groups.FrameContentSequence[0].DimensionIndexValues))
        indices.append(tuple(int(value) for value in index))
        expect(is_map or index[0] == number, "an index of another segment")
    expect(len(set(indices)) == len(indices), "two frames with one dimension index")
    expect(len(dataset.DimensionIndexSequence) == len(indices[0]), "a dimension without an index")
    return volumes


def check_spacing(dataset, source: Source, slices) -> None:
    measures = dataset.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
    if measures is None or len(slices) < 2 or "SpacingBetweenSlices" not in measures[0]:
        return
    planes = [source.plane(*image) for image in slices]
    normal = np.cross(planes[0][1], planes[0][2])
    steps = np.diff([plane[0] @ normal for plane in planes])
    expect(np.abs(np.abs(steps) - float(measures[0].SpacingBetweenSlices)).max() < 0.05, "another distance of slices")


def code(sequence) -> list[str]:
    """Scheme, value and meaning of the only item of a code sequence."""
    expect(len(sequence) == 1, f"{len(sequence)} codes")
    item = sequence[0]
    return [item.CodingSchemeDesignator, item.get("CodeValue") or item.LongCodeValue, item.CodeMeaning]


def check_type(name: str, sequence, codes) -> None:
    """The type of a segment or ROI, and its side."""
    expect(code(sequence) == codes["type"], f"{name} is {code(sequence)}")
    sides = sequence[0].get("SegmentedPropertyTypeModifierCodeSequence")
    found = None if sides is None else code(sides)
    expect(found == codes["modifier"], f"{name} has the modifier {found}")


def check_seg(path: Path, expected, source: Source, masks, fractions) -> None:
    dataset = pydicom.dcmread(path)
    check_references(dataset, source)
    slices = [tuple(item) for item in expected["slices"]]
    check_spacing(dataset, source, slices)
    volumes = seg_volumes(dataset, source, slices, masks[0].shape)
    segments = [item for item in dataset.SegmentSequence if item.SegmentNumber > 0]
    names = [segment["name"] for segment in expected["segments"]][: len(segments)]
    expect(
        [item.SegmentLabel for item in segments] == names, f"other names: {[item.SegmentLabel for item in segments]}"
    )
    for at, item in enumerate(segments):
        number = item.SegmentNumber
        if dataset.SegmentationType == "LABELMAP":
            found, meant = volumes[0] == number, masks[at] > 0
        elif dataset.SegmentationType == "FRACTIONAL":
            # Half a step is rounded either way.
            exact = fractions[at].astype("f8") * dataset.MaximumFractionalValue
            found, meant = np.abs(volumes[number] - exact) <= 0.5 + 1e-9, True
        else:
            found, meant = volumes[number] > 0, masks[at] > 0
        wrong = int((found != meant).sum())
        expect(wrong == 0, f"{path.name}: {wrong} voxels of {item.SegmentLabel} are wrong")
        codes = expected["segments"][at].get("codes")
        if codes:
            category = code(item.SegmentedPropertyCategoryCodeSequence)
            expect(category == codes["category"], f"{item.SegmentLabel} is of the category {category}")
            check_type(item.SegmentLabel, item.SegmentedPropertyTypeCodeSequence, codes)
    counted = 2 if dataset.SegmentationType == "LABELMAP" else len(expected["segments"])
    expect(len(segments) == counted, f"{len(segments)} segments")


def check_rt(path: Path, expected, source: Source, masks) -> None:
    dataset = pydicom.dcmread(path)
    check_references(dataset, source)
    slices = [tuple(item) for item in expected["slices"]]
    names = [item.ROIName for item in dataset.StructureSetROISequence]
    expect(names == [segment["name"] for segment in expected["segments"]], f"other names: {names}")
    numbers = [item.ROINumber for item in dataset.StructureSetROISequence]
    expect([item.ReferencedROINumber for item in dataset.RTROIObservationsSequence] == numbers, "other observations")
    for observation, segment in zip(dataset.RTROIObservationsSequence, expected["segments"], strict=True):
        if "codes" in segment:
            check_type(segment["name"], observation.RTROIIdentificationCodeSequence, segment["codes"])
    for roi in dataset.ROIContourSequence:
        at = numbers.index(roi.ReferencedROINumber)
        colour = int(expected["segments"][at]["colour"][1:], 16)
        expect(list(roi.ROIDisplayColor) == [colour >> 16, colour >> 8 & 255, colour & 255], "another colour")
        found = np.zeros(masks[at].shape, bool)
        for contour in roi.ContourSequence:
            image = reference(contour.ContourImageSequence[0])
            position, right, down, dx, dy = source.plane(*image)
            points = np.array(contour.ContourData, float).reshape(-1, 3) - position
            expect(len(points) == contour.NumberOfContourPoints, "another number of points")
            expect(np.abs(points @ np.cross(right, down)).max() < FAR, "a contour off its plane")
            rows, columns = points @ down / dy, points @ right / dx
            filled = polygon(rows, columns, found.shape[1:])
            k = slices.index(image)
            expect(not found[k][filled].any(), "contours that overlap")
            found[k][filled] = True
        wrong = int((found != (masks[at] > 0)).sum())
        expect(wrong == 0, f"{path.name}: {wrong} voxels of {names[at]} are wrong")


def main(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    source = Source(Path(expected["source"]))
    shape = tuple(reversed(expected["shape"]))
    masks = [np.fromfile(folder / item["mask"], np.uint8).reshape(shape) for item in expected["segments"]]
    fractions = [
        np.fromfile(folder / item["fractions"], "<f4").reshape(shape) if "fractions" in item else None
        for item in expected["segments"]
    ]
    for path in sorted(folder.glob("seg-*.dcm")):
        check_seg(path, expected, source, masks, fractions)
    for path in sorted(folder.glob("rt.dcm")):
        check_rt(path, expected, source, masks)
    print("as meant")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
