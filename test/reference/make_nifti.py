"""Writes NIfTI files with nibabel, and what nibabel reads back from them, as references for test/nifti.test.ts.

python test/reference/make_nifti.py build/reference/nifti
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
SHAPE = (5, 4, 3)
OBLIQUE = from_matvec(euler2mat(0.3, -0.2, 0.5) @ np.diag([0.7, 0.8, 2.5]), [-12.5, 30.25, -7])
FLIPPED = from_matvec(euler2mat(-0.1, 0.25, 3.0) @ np.diag([-1.5, 1.25, 3]), [90, -126, -72])


def values(dtype: str, rng: np.random.Generator) -> np.ndarray:
    if dtype[0] == "f":
        return (rng.normal(size=SHAPE) * 1000).astype(dtype)
    info = np.iinfo(dtype)
    # Beyond 2**53 JSON and float64 are not exact themselves.
    low, high = max(info.min, -(2**50)), min(info.max, 2**50)
    data = rng.integers(low, high, size=SHAPE, endpoint=True).astype(dtype)
    data.flat[0], data.flat[1] = low, high
    return data


def save(folder: Path, name: str, image, cases: list) -> None:
    path = folder / name
    nib.save(image, path)
    back = nib.load(path)
    data = np.asarray(back.get_fdata(dtype=np.float64)) if back.get_data_dtype().fields is None else None
    cases.append(
        {
            "file": name,
            "shape": list(back.shape),
            "affine": back.affine.tolist(),
            "values": None if data is None else data.flatten(order="F").tolist(),
        }
    )


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    cases: list = []
    for version, Image in (1, nib.Nifti1Image), (2, nib.Nifti2Image):
        for order in "<>":
            for dtype in DTYPES:
                header = Image.header_class(endianness=order)
                header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
                image = Image(values(dtype, rng), OBLIQUE, header, dtype=np.dtype(dtype).newbyteorder(order))
                end = "le" if order == "<" else "be"
                save(folder, f"n{version}_{dtype}_{end}.nii" + (".gz" if dtype == "i2" else ""), image, cases)

        scaled = Image(values("i2", rng), FLIPPED)
        scaled.header.set_slope_inter(0.5, -1024.25)
        save(folder, f"n{version}_scaled.nii.gz", scaled, cases)

        qform = Image(values("i2", rng), None)
        qform.header.set_qform(FLIPPED, code=1)
        qform.header.set_sform(None, code=0)
        save(folder, f"n{version}_qform.nii", Image(qform.dataobj, None, qform.header), cases)

        both = Image(values("u1", rng), OBLIQUE)
        both.header.set_qform(FLIPPED, code=4)
        both.header.set_sform(OBLIQUE, code=1)
        save(folder, f"n{version}_both.nii", Image(both.dataobj, None, both.header), cases)

        series = Image(rng.integers(-5, 500, size=(4, 3, 2, 3)).astype("i2"), OBLIQUE)
        save(folder, f"n{version}_4d.nii.gz", series, cases)

        flat = Image(rng.integers(0, 200, size=(6, 5)).astype("u1"), OBLIQUE)
        save(folder, f"n{version}_2d.nii", flat, cases)

        rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        for channel in "RGB":
            rgb[channel] = rng.integers(0, 256, size=SHAPE)
        save(folder, f"n{version}_rgb.nii", Image(rgb, OBLIQUE), cases)
        flat_rgb = np.stack([rgb[channel].flatten(order="F") for channel in "RGB"], axis=-1)
        cases[-1]["values"] = flat_rgb.flatten().tolist()
    (folder / "expected.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
