"""What pydicom reads from the DICOM files that come with it, as references for test/dicom.test.ts.

    python test/reference/make_dicom.py build/reference/dicom

Copies each file with pixels and writes the sum of its values after the modality LUT or rescale, and, of the first,
frame, the values and the 8-bit image by its VOI LUT or window. Frames that pydicom cannot decode without further
plugins (JPEG-LS, JPEG lossless, JPEG of 12 bits) are decoded with imagecodecs, where that is installed.
"""

import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array as decode_pixels

try:
    import imagecodecs
except ImportError:
    imagecodecs = None

JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201")


def decoded(dataset, syntax: str) -> np.ndarray:
    """Stored values, (frames,) rows, columns (, 3); colours as RGB."""
    try:
        return decode_pixels(dataset)
    except Exception:
        if imagecodecs is None:
            raise
    codec = imagecodecs.jpegls_decode if syntax in JPEG_LS else None
    codec = codec or (imagecodecs.jpeg_decode if syntax in JPEG else None)
    codec = codec or (imagecodecs.jpeg2k_decode if syntax in JPEG_2000 else None)
    if codec is None:
        raise ValueError(f"no decoder for {syntax}")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    values = []
    for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
        try:
            values.append(codec(frame))
        except Exception:
            values.append(imagecodecs.ljpeg_decode(frame))
    array = np.stack(values) if frames > 1 else values[0]
    if dataset.get("PixelRepresentation", 0) == 1:
        unused = dataset.BitsAllocated - dataset.BitsStored
        array = (array.astype(f"u{dataset.BitsAllocated // 8}") << unused).astype(
            f"i{dataset.BitsAllocated // 8}"
        ) >> unused
    return array


def displayed(dataset, values: np.ndarray) -> list | None:
    """0 to 255 by the first VOI LUT, else the first window."""
    if "VOILUTSequence" in dataset:
        item = dataset.VOILUTSequence[0]
        full = 2 ** int(item.LUTDescriptor[2]) - 1
        return (apply_voi_lut(values, dataset).astype(float) * 255 / full).flatten().tolist()
    if "WindowCenter" not in dataset or dataset.get("WindowWidth") is None:
        return None
    low_high = apply_voi_lut(np.array([-1e9, 1e9]), dataset)
    shown = apply_voi_lut(values.astype(float), dataset)
    return ((shown - low_high[0]) / (low_high[1] - low_high[0]) * 255).flatten().tolist()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    root = Path(pydicom.__file__).parent / "data" / "test_files"
    cases, left_out = [], []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        try:
            dataset = pydicom.dcmread(path, force=True)
        except Exception:
            continue
        if "PixelData" not in dataset or "Rows" not in dataset:
            continue
        meta = getattr(dataset, "file_meta", None) or {}
        syntax = str(meta.get("TransferSyntaxUID", ""))
        name = "_".join(path.relative_to(root).parts)
        try:
            stored = decoded(dataset, syntax)
        except Exception as error:
            left_out.append({"file": name, "reason": str(error).strip().splitlines()[0][:120]})
            shutil.copy(path, folder / name)
            continue
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        photometric = dataset.PhotometricInterpretation
        shown = None
        if photometric == "PALETTE COLOR":
            values = apply_color_lut(stored, dataset)
            if values.dtype != np.uint8:
                values = (values >> 8).astype(np.uint8)
        elif stored.ndim - (frames > 1) == 3:
            values = stored
        else:
            values = apply_modality_lut(stored, dataset)
            shown = displayed(dataset, values[0] if frames > 1 else values)
        first = values[0] if frames > 1 else values
        shutil.copy(path, folder / name)
        np.ascontiguousarray(first).astype("<f8").tofile(folder / f"{name}.values")
        if shown is not None:
            np.asarray(shown, "<f4").tofile(folder / f"{name}.shown")
        cases.append(
            {
                "file": name,
                "syntax": syntax,
                "photometric": photometric,
                "shape": list(values.shape),
                "frames": frames,
                "sum": float(values.astype(np.float64).sum()),
                "shown": shown is not None,
            }
        )
    (folder / "expected.json").write_text(json.dumps({"cases": cases, "left_out": left_out}, indent=1))
    print(f"{len(cases)} files, {len(left_out)} left out")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
