"""MSLS in small: its zips and folders become a folder a city, with the origin's table."""

import io
import json
import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from gesso.data.images import image_size
from gesso.data.prepare.msls import PreparedCities, prepare_msls
from gesso.errors import BadImage, DataError, UsageError

LAYOUT = {
    "train_val/austin/database": 6,
    "train_val/austin/query": 4,
    "train_val/zurich/query": 5,
    "test/miami/query": 3,
}


def files(size: tuple[int, int] = (40, 30)) -> dict[str, bytes]:
    found = {}
    for place, count in LAYOUT.items():
        city, part = place.split("/")[1:]
        found[f"{place}/raw.csv"] = b"key,lon,lat\n"
        for i in range(count):
            buffer = io.BytesIO()
            Image.new("RGB", size, (i * 30, len(city) * 20, len(part) * 10)).save(buffer, "JPEG")
            found[f"{place}/images/{city}_{part}_{i}.jpg"] = buffer.getvalue()
    return found


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def unpacked(root: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def images(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.jpg")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpacked(tmp_path / "msls", files())


def wanted() -> dict[str, bytes]:
    return {f"{name.split('/')[1]}/{Path(name).name}": data for name, data in files().items() if name.endswith(".jpg")}


def test_a_folder_becomes_a_folder_a_city(folder: Path, tmp_path: Path) -> None:
    done = prepare_msls([folder], tmp_path / "out")
    assert done.counts == {"austin": 10, "miami": 3, "zurich": 5} and done.left_out == 0
    assert images(tmp_path / "out") == wanted()


def test_zips_give_the_same_without_unpacking(tmp_path: Path) -> None:
    every = list(files().items())
    volumes = [zipped(tmp_path / f"vol_{i}.zip", dict(every[i::2])) for i in range(2)]
    prepare_msls(volumes, tmp_path / "out")
    assert images(tmp_path / "out") == wanted()


def test_single_city_folders_and_zips_are_known_by_their_names(folder: Path, tmp_path: Path) -> None:
    prefix = "train_val/zurich/"
    inside = {name.removeprefix(prefix): data for name, data in files().items() if name.startswith(prefix)}
    prepare_msls([folder / "train_val" / "austin", zipped(tmp_path / "zurich.zip", inside)], tmp_path / "out")
    assert images(tmp_path / "out") == {name: data for name, data in wanted().items() if not name.startswith("miami")}


def test_the_table_counts_images_and_bytes_of_each_city(folder: Path, tmp_path: Path) -> None:
    done = prepare_msls([folder], tmp_path / "out")
    bytes_of = {
        city: sum(len(data) for name, data in wanted().items() if name.startswith(city)) for city in done.counts
    }
    assert done.sizes == bytes_of
    told = json.loads((tmp_path / "out" / "cities.json").read_text())
    assert told == {city: {"images": done.counts[city], "bytes": bytes_of[city]} for city in done.counts}


def test_the_table_reads_like_the_origins() -> None:
    done = PreparedCities({"austin": 28462, "sf": 4525}, 0, {"austin": 760_000_000, "sf": 1_170_000_000})
    assert done.table().splitlines() == [
        "City         Size    Imgs",
        "austin  760.00 MB  28,462",
        "sf        1.17 GB   4,525",
        "Total     1.93 GB  32,987",
    ]


def test_what_a_city_is_called_neither_breaks_the_table_nor_steers_the_terminal() -> None:
    done = PreparedCities({"ro\x1b[31mme\n": 1, "oslo": 2}, 0, {"ro\x1b[31mme\n": 1000, "oslo": 1000})
    assert [len(line) for line in done.table().splitlines()] == [28] * 4
    assert done.table().replace("\n", "").isprintable()
    assert str(done) == r"ro\x1b[31mme\n 1, oslo 2"


def test_cities_are_chosen_by_name(folder: Path, tmp_path: Path) -> None:
    assert prepare_msls([folder], tmp_path / "out", cities=["miami", "zurich"]).counts == {"miami": 3, "zurich": 5}
    with pytest.raises(UsageError, match=r"--cities paris: not in these sources, which have austin, miami, zurich"):
        prepare_msls([folder], tmp_path / "none", cities=["paris", "miami"])


def test_a_sample_is_drawn_from_each_city_by_seed(folder: Path, tmp_path: Path) -> None:
    done = prepare_msls([folder], tmp_path / "0", fraction=0.5, seed=3)
    assert done.counts == {"austin": 5, "miami": 2, "zurich": 2} and done.left_out == 9
    prepare_msls([folder], tmp_path / "1", fraction=0.5, seed=3, cities=["austin"])
    prepare_msls([folder], tmp_path / "2", fraction=0.5, seed=4, cities=["austin"])
    austin = [{name for name in images(tmp_path / str(i)) if name.startswith("austin")} for i in range(3)]
    assert austin[0] == austin[1] != austin[2]


def test_a_city_gives_at_most_so_many(folder: Path, tmp_path: Path) -> None:
    assert prepare_msls([folder], tmp_path / "out", per_city=4).counts == {"austin": 4, "miami": 3, "zurich": 4}


@pytest.mark.parametrize(
    ("size", "shrunk"), [((400, 300), (341, 256)), ((300, 400), (256, 341)), ((300, 200), (300, 200))]
)
def test_shrinking_leaves_room_for_the_crop(tmp_path: Path, size: tuple[int, int], shrunk: tuple[int, int]) -> None:
    content = {name: data for name, data in files(size).items() if "miami" in name}
    prepare_msls([unpacked(tmp_path / "msls", content)], tmp_path / "out", shorter_side=256)
    assert {image_size(path) for path in (tmp_path / "out").rglob("*.jpg")} == {shrunk}


def test_links_share_the_files(folder: Path, tmp_path: Path) -> None:
    prepare_msls([folder], tmp_path / "out", link=True)
    assert images(tmp_path / "out") == wanted()
    one, other = "miami/miami_query_0.jpg", "test/miami/query/images/miami_query_0.jpg"
    assert (tmp_path / "out" / one).samefile(folder / other)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"fraction": 0.0}, "--fraction"),
        ({"fraction": 1.5}, "--fraction"),
        ({"per_city": -1}, "--per-city"),
        ({"shorter_side": 255}, "--shorter-side 255"),
        ({"link": True, "shorter_side": 300}, "--link"),
        ({"seed": 2**64}, "--seed 18446744073709551616: must lie in"),
    ],
)
def test_senseless_flags_are_named(folder: Path, tmp_path: Path, options: dict[str, float], flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        prepare_msls([folder], tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_damaged_image_that_is_to_be_shrunk_is_named(tmp_path: Path) -> None:
    content = files((300, 280))
    bad = "train_val/zurich/query/images/zurich_query_2.jpg"
    folder = unpacked(tmp_path / "msls", content | {bad: content[bad][:200]})
    with pytest.raises(BadImage, match=r"zurich_query_2\.jpg"):
        prepare_msls([folder], tmp_path / "out", shorter_side=256, workers=1)
    assert not (tmp_path / "out").exists()
    (folder / bad).write_bytes(content[bad])
    assert prepare_msls([folder], tmp_path / "out", shorter_side=256).counts["zurich"] == 5


def test_an_unfinished_preparation_goes_on(folder: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_msls([folder], tmp_path / "out", workers=1, progress=stop)
    assert not (tmp_path / "out").exists()
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".out.partial").rglob("*.jpg")}
    assert len(first) >= 7
    prepare_msls([folder], tmp_path / "out")
    assert images(tmp_path / "out") == wanted()
    again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.jpg")}
    assert again.items() >= first.items()


def test_another_zip_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no MSLS here"):
        prepare_msls([zipped(tmp_path / "x.zip", {"photos/a.jpg": b"x"})], tmp_path / "out")


def test_a_city_in_the_place_of_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.zip: cities\.json/query/images/a\.jpg: a city called as the table"):
        prepare_msls([zipped(tmp_path / "x.zip", {"cities.json/query/images/a.jpg": b"x"})], tmp_path / "out")


def test_hostile_zips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leads out of the archive"):
        prepare_msls([zipped(tmp_path / "x.zip", {"../austin/query/images/a.jpg": b"x"})], tmp_path / "out")
    link = zipfile.ZipInfo("train_val/austin/query/images/a.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="a link"):
        prepare_msls([tmp_path / "link.zip"], tmp_path / "out")
