"""What the package writes, read back by others: nibabel, pycocotools, shapely, scikit-image and NumPy.

pytest test/reference/test_results.py, after npm run build:ts
"""

import csv
import json
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import pdist, squareform

nib = pytest.importorskip("nibabel")
pytest.importorskip("pycocotools")
pytest.importorskip("shapely")
pytest.importorskip("skimage")
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from shapely import LineString, MultiPoint, contains_xy
from shapely.geometry import shape as shapely_shape
from skimage.measure import regionprops

HERE = Path(__file__).parent
SHAPE = (19, 16, 7)
SHEAR = np.array([[1, 0, 0], [0, 1, 0.25], [0, 0, 1]])
AFFINES = {
    "oblique": from_matvec(euler2mat(0.3, -0.2, 0.5) @ np.diag([0.7, 0.8, 2.5]), [-12.5, 30.25, -7]),
    "flipped": from_matvec(euler2mat(-0.1, 0.25, 3.0) @ np.diag([-1.5, 1.25, 3]), [90, -126, -72]),
    "turned": from_matvec(euler2mat(np.pi, 0, 0.1) @ np.diag([2, 0.5, 1]), [1, 2, 3]),
    "swapped": from_matvec(np.array([[0, 0, 2], [-0.9, 0, 0], [0, 1.1, 0]]), [5, 6, 7]),
    "sheared": from_matvec(np.diag([0.5, 1.5, 3]) @ SHEAR, [0, -4, 8]),
}


def blob(rng: np.random.Generator, shape: tuple, sigma: float = 1.5, share: float = 0.2) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return noise > np.quantile(noise, 1 - share)


def volume_cases(folder: Path, rng: np.random.Generator) -> dict:
    cases = {}
    for name, affine in AFFINES.items():
        first, second = blob(rng, SHAPE), blob(rng, SHAPE)
        cases[name] = {"affine": affine, "masks": [first, second & ~first]}
        cases[f"{name}-overlapping"] = {"affine": affine, "masks": [first, second, blob(rng, SHAPE)]}
    slab = np.zeros(SHAPE, bool)
    slab[:, 5] = blob(rng, (SHAPE[0], SHAPE[2]))
    cases["slab"] = {"affine": AFFINES["oblique"], "masks": [slab]}
    cases["along-x"] = {"affine": AFFINES["flipped"], "masks": [blob(rng, SHAPE)], "axis": "x"}
    many = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    cases["many"] = {"affine": AFFINES["oblique"], "masks": [many == i for i in range(300)]}
    for name, case in cases.items():
        case["values"] = (rng.normal(size=SHAPE) * 400).astype("f4")
        image = nib.Nifti1Image(case["values"], case["affine"])
        image.header.set_xyzt_units("mm")
        nib.save(image, folder / f"{name}.nii")
        for i, mask in enumerate(case["masks"]):
            mask.astype("u1").flatten(order="F").tofile(folder / f"{name}-{i}.u8")
    return cases


def image_cases(folder: Path, rng: np.random.Generator) -> dict:
    size = (37, 52)
    y, x = np.mgrid[: size[0], : size[1]]
    disc = (x - 20) ** 2 + (y - 18) ** 2
    corner = np.zeros(size, bool)
    corner[3:9, 3:9] = True
    corner[5:7, 5:7] = False
    corner[7, 7] = False  # two holes that meet at a corner
    pinched = np.zeros(size, bool)
    pinched[2:8, 2:8] = True
    pinched[3:7, 3:7] = False
    pinched[2, 2] = pinched[6, 6] = True
    pinched[7, 7] = False  # an outline that meets itself at a corner
    row = np.zeros(size, bool)
    row[30, 4:14] = True
    border = np.zeros(size, bool)
    border[:2] = border[:, -1] = True
    drawn = [(disc < 150) & (disc > 30), corner, pinched, row, border, x == x]
    dots = [rng.random(size) < share for share in (0.02, 0.3, 0.5, 0.6, 0.8)]
    cases = {
        "drawn": {"masks": drawn},
        "dots": {"masks": dots, "spacing": [0.4, 0.9]},
        "blobs": {"masks": [blob(rng, size, 2, share) for share in (0.1, 0.3, 0.5)], "spacing": [0.5, 0.5]},
    }
    for name, case in cases.items():
        case["values"] = rng.integers(0, 256, size=size).astype("u1")
        case["values"].tofile(folder / f"{name}.u8")
        for i, mask in enumerate(case["masks"]):
            mask.astype("u1").tofile(folder / f"{name}-{i}.u8")
    return cases


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(11)
    volumes, images = volume_cases(folder, rng), image_cases(folder, rng)
    cases = {
        "volumes": [{"name": n, "masks": len(c["masks"]), "axis": c.get("axis")} for n, c in volumes.items()],
        "images": [
            {"name": n, "masks": len(c["masks"]), "width": 52, "height": 37, "spacing": c.get("spacing")}
            for n, c in images.items()
        ],
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    subprocess.run(["node", str(HERE / "write_results.mjs"), str(folder)], check=True)
    return folder, volumes, images


def load(path: Path):
    return json.loads(path.read_text())


def rows(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


VOLUMES = [*AFFINES, *[f"{name}-overlapping" for name in AFFINES], "slab", "along-x", "many"]
IMAGES = ["drawn", "dots", "blobs"]


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("end", ["nii", "nii.gz"])
def test_nifti(written, name, end):
    folder, volumes, _ = written
    case = volumes[name]
    image = nib.load(folder / f"{name}-out.{end}")
    labels = np.asanyarray(image.dataobj)
    assert labels.dtype == (np.uint16 if name == "many" else np.uint8)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header.get_intent()[0] == "label"
    np.testing.assert_allclose(image.affine, case["affine"], atol=1e-5)
    np.testing.assert_allclose(image.header.get_zooms()[:3], nib.affines.voxel_sizes(case["affine"]), rtol=1e-6)
    sform, code = image.get_sform(coded=True)
    assert code == 2
    qform, code = image.get_qform(coded=True)
    if name.startswith("sheared"):
        assert code == 0
    else:
        assert code == 2
        np.testing.assert_allclose(qform, sform, atol=1e-4)
    table = load(folder / f"{name}-out.json")["labels"]
    assert [entry["value"] for entry in table] == list(range(1, len(case["masks"]) + 1))
    assert labels.ndim == (4 if "overlapping" in name else 3)
    for entry, mask in zip(table, case["masks"], strict=True):
        layer = labels if labels.ndim == 3 else labels[..., entry["layer"]]
        np.testing.assert_array_equal(layer == entry["value"], mask)
        assert entry["voxels"] == mask.sum()


def nrrd(path: Path) -> tuple[dict, dict, bytes]:
    """Fields, key/value pairs and unpacked data of an NRRD file, as its definition has them."""
    head, data = path.read_bytes().split(b"\n\n", 1)
    lines = head.decode().split("\n")
    assert lines[0] == "NRRD0004"
    pairs = dict(line.split(":=", 1) for line in lines[1:] if ":=" in line)
    fields = dict(line.split(": ", 1) for line in lines[1:] if ":=" not in line)
    return fields, pairs, zlib.decompress(data, 31)


@pytest.mark.parametrize("name", VOLUMES)
def test_seg_nrrd(written, name):
    folder, volumes, _ = written
    case = volumes[name]
    fields, pairs, data = nrrd(folder / f"{name}-out.seg.nrrd")
    sizes = [int(size) for size in fields["sizes"].split()]
    types = {"unsigned char": "<u1", "unsigned short": "<u2"}
    labels = np.frombuffer(data, types[fields["type"]]).reshape(sizes, order="F")
    if labels.ndim == 3:
        labels = labels[None]
    directions = [part for part in fields["space directions"].split() if part != "none"]
    columns = [[float(value) for value in part.strip("()").split(",")] for part in directions]
    origin = [float(value) for value in fields["space origin"].strip("()").split(",")]
    assert fields["space"] == "left-posterior-superior"
    ras = np.diag([-1, -1, 1, 1]) @ from_matvec(np.array(columns).T, origin)
    np.testing.assert_allclose(ras, case["affine"], atol=1e-5)
    for i, mask in enumerate(case["masks"]):
        key = f"Segment{i}_"
        layer = labels[int(pairs[key + "Layer"])]
        np.testing.assert_array_equal(layer == int(pairs[key + "LabelValue"]), mask)
        extent = [bound for where in np.where(mask) for bound in (where.min(), where.max())]
        assert [int(value) for value in pairs[key + "Extent"].split()] == extent


def edge_middles(mask: np.ndarray) -> np.ndarray:
    """Middles of the edges between pixels that are set and those that are not, (n, 2), by index."""
    padded = np.pad(mask, 1)
    points = []
    for axis in 0, 1:
        changes = np.argwhere(np.diff(padded.astype(int), axis=axis)).astype(float) - 1
        changes[:, axis] += 0.5
        points.append(changes)
    return np.concatenate(points)


def brute_force_axes(points: np.ndarray) -> tuple[float, float]:
    """Longest distance, and the longest chord of the hull across it, by trying all; points in mm, (n, 2)."""
    hull = MultiPoint(points).convex_hull
    corners = np.array(hull.exterior.coords[:-1])
    lengths = squareform(pdist(points))
    long = lengths.max()
    short = 0.0
    for i, j in np.argwhere(np.triu(lengths >= long * (1 - 1e-6))):
        a, along = points[i], (points[j] - points[i]) / lengths[i, j]
        across = np.array([-along[1], along[0]]) * 2 * long
        for corner in corners:
            foot = a + along * np.clip((corner - a) @ along, 1e-9, long - 1e-9)
            short = max(short, hull.intersection(LineString([foot - across, foot + across])).length)
    return long, short


@pytest.mark.parametrize("name", [name for name in VOLUMES if name != "many"])
def test_measurements_of_volumes(written, name):
    folder, volumes, _ = written
    case = volumes[name]
    lps = np.diag([-1, -1, 1, 1]) @ case["affine"]
    measured = load(folder / f"{name}-measured.json")
    table = rows(folder / f"{name}-measured.csv")
    assert len(measured) == len(table) == len(case["masks"])
    for found, row, mask in zip(measured, table, case["masks"], strict=True):
        voxel = abs(np.linalg.det(lps[:3, :3]))
        assert found["voxels"] == mask.sum()
        assert found["volume"] == pytest.approx(mask.sum() * voxel / 1000, rel=1e-5)
        values = case["values"][mask].astype(float)
        for key, expected in (
            ("mean", values.mean()),
            ("sd", values.std()),
            ("min", values.min()),
            ("max", values.max()),
        ):
            assert found["intensity"][key] == pytest.approx(expected, rel=1e-9)
        centre = ndimage.center_of_mass(mask)
        np.testing.assert_allclose(found["centroid"]["voxel"], centre, rtol=1e-9)
        np.testing.assert_allclose(found["centroid"]["patient"], nib.affines.apply_affine(lps, centre), rtol=1e-5)

        axis = {"slab": 1, "along-x": 0}.get(name, 2)
        assert found["axes"]["axis"] == "xyz"[axis]
        step_u, step_v = (lps[:3, other] for other in range(3) if other != axis)
        u = step_u / np.linalg.norm(step_u)
        v = step_v - u * (u @ step_v)
        v /= np.linalg.norm(v)
        plane = np.array([[step_u @ u, step_u @ v], [step_v @ u, step_v @ v]])
        slices = [np.take(mask, i, axis) for i in range(mask.shape[axis])]
        axes = [brute_force_axes(edge_middles(each) @ plane) if each.any() else (0, 0) for each in slices]
        longest = max(long for long, _ in axes)
        best = next(i for i, (long, _) in enumerate(axes) if long >= longest * (1 - 1e-6))
        assert found["axes"]["slice"] == best
        assert found["axes"]["long"] == pytest.approx(axes[best][0], rel=1e-5)
        assert found["axes"]["short"] == pytest.approx(axes[best][1], rel=1e-5)
        ends = nib.affines.apply_affine(lps, found["axes"]["ends"])
        assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(axes[best][0], rel=1e-5)

        area = mask.sum() * np.linalg.norm(np.cross(step_u, step_v)) if name == "slab" else None
        assert found["area"] == (None if area is None else pytest.approx(area, rel=1e-5))
        assert row["area_mm2"] == ("" if area is None else str(found["area"]))
        assert float(row["volume_ml"]) == found["volume"]
        assert float(row["long_axis_mm"]) == found["axes"]["long"]
        assert float(row["intensity_sd"]) == found["intensity"]["sd"]
        assert float(row["centroid_z_mm"]) == found["centroid"]["patient"][2]


@pytest.mark.parametrize("name", IMAGES)
def test_measurements_of_images(written, name):
    folder, _, images = written
    case = images[name]
    measured = load(folder / f"{name}-measured.json")
    for found, mask in zip(measured, case["masks"], strict=True):
        (region,) = regionprops(mask.astype(int), intensity_image=case["values"].astype(float))
        assert found["area"] == region.area
        np.testing.assert_allclose(found["centroid"], region.centroid[::-1])
        for key, expected in (
            ("mean", region.intensity_mean),
            ("sd", region.intensity_std),
            ("min", region.intensity_min),
            ("max", region.intensity_max),
        ):
            assert found["intensity"][key] == pytest.approx(expected)
        points = edge_middles(mask)[:, ::-1]
        long, short = brute_force_axes(points)
        assert found["axes"]["long"] == pytest.approx(long)
        assert found["axes"]["short"] == pytest.approx(short)
        # scikit-image takes the outline of the hull as pixels, which may reach beyond the hull by half a pixel a side.
        assert long - 1e-9 <= region.feret_diameter_max <= long + 1
        if "spacing" not in case:
            assert found["physical"] is None
            continue
        long, short = brute_force_axes(points * case["spacing"])
        assert found["physical"]["area"] == pytest.approx(mask.sum() * np.prod(case["spacing"]))
        assert found["physical"]["axes"]["long"] == pytest.approx(long)
        assert found["physical"]["axes"]["short"] == pytest.approx(short)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("kind", ["rle", "polygons"])
def test_coco(written, name, kind):
    folder, _, images = written
    coco = COCO(str(folder / f"{name}-{kind}.json"))
    masks = images[name]["masks"]
    assert coco.imgs[1]["file_name"] == f"{name}.png"
    categories = {category["id"]: category["class_id"] for category in coco.loadCats(coco.getCatIds())}
    polygons = 0
    for i, mask in enumerate(masks):
        annotation = coco.anns[i + 1]
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum() == coco_mask.area(coco.annToRLE(annotation))
        rle = coco_mask.encode(np.asfortranarray(mask.astype("u1")))
        assert annotation["bbox"] == coco_mask.toBbox(rle).tolist()
        assert categories[annotation["category_id"]] == ("unknown" if i == 0 else f"class_{i}")
        polygons += isinstance(annotation["segmentation"], list)
    assert (polygons > 0) == (kind == "polygons")


@pytest.mark.parametrize("name", IMAGES)
def test_geojson(written, name):
    folder, _, images = written
    features = load(folder / f"{name}.geojson")["features"]
    masks = images[name]["masks"]
    assert len(features) == len(masks)
    y, x = np.mgrid[:37, :52]
    for feature, mask in zip(features, masks, strict=True):
        shape = shapely_shape(feature["geometry"])
        assert shape.is_valid
        assert shape.area == mask.sum() == feature["properties"]["area"]
        np.testing.assert_array_equal(contains_xy(shape, x + 0.5, y + 0.5), mask)
        for polygon in getattr(shape, "geoms", [shape]):
            assert polygon.exterior.is_ccw
            assert not any(hole.is_ccw for hole in polygon.interiors)


@pytest.mark.parametrize("name", IMAGES)
def test_svg(written, name):
    folder, _, images = written
    for i, mask in enumerate(images[name]["masks"]):
        drawn = np.fromfile(folder / f"{name}-{i}-svg.u8", "u1").reshape(mask.shape)
        np.testing.assert_array_equal(drawn, np.where(mask, 255, 0))
