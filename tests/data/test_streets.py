"""The built-in streets: the same everywhere, right by class, and a street at any size."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from gesso.data.streets import CLASSES, HOURS, PALETTE, TRAIN_LABELS, WEATHERS, Street, colour, render
from gesso.data.streets import classes as c
from gesso.errors import UsageError

DIGEST = """
import hashlib
from gesso.data.streets import render
digest = hashlib.sha256()
for index in range(6):
    street = render(7, index, 96, 64)
    for part in (street.photo, street.labels, street.instances):
        digest.update(part.tobytes())
    digest.update(f"{street.weather} {street.hour}".encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def scenes() -> list[Street]:
    return [render(0, index, 64, 64) for index in range(200)]


@pytest.fixture(scope="module")
def clear_days() -> list[Street]:
    return [render(3, index, 128, 128, weather="clear", hour="day") for index in range(12)]


def mean_colour(streets: list[Street], label: int) -> np.ndarray:
    return np.concatenate([street.photo[street.labels == label] for street in streets]).mean(axis=0)


def test_two_processes_render_the_same_bits() -> None:
    runs = [subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True) for _ in "ab"]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout.strip()) == 64


def test_a_scene_does_not_depend_on_those_rendered_before_it() -> None:
    first = render(1, 5, 64, 64)
    render(1, 6, 64, 64)
    render(2, 5, 128, 64)
    again = render(1, 5, 64, 64)
    np.testing.assert_array_equal(first.photo, again.photo)
    np.testing.assert_array_equal(first.labels, again.labels)


def test_scenes_differ_by_index_and_by_seed() -> None:
    digests = {
        hashlib.sha256(render(seed, index, 64, 64, weather="clear", hour="day").labels.tobytes()).hexdigest()
        for seed in range(4)
        for index in range(10)
    }
    assert len(digests) == 40


def test_the_largest_seed_and_index_render() -> None:
    assert render(2**64 - 1, 2**64 - 1, 32, 32).photo.shape == (32, 32, 3)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 47), (128, 128), (512, 128), (32, 256)])
def test_any_size_has_the_shapes_and_types_promised(width: int, height: int) -> None:
    street = render(0, 1, width, height)
    assert street.photo.shape == (height, width, 3) and street.photo.dtype == np.uint8
    assert street.labels.shape == (height, width) and street.labels.dtype == np.uint8
    assert street.instances.shape == (height, width) and street.instances.dtype == np.int32
    assert street.photo.std() > 10


def test_a_scene_is_the_same_street_at_every_size() -> None:
    agreements = []
    for index in range(8):
        small, large = render(4, index, 64, 64), render(4, index, 256, 256)
        assert (small.weather, small.hour) == (large.weather, large.hour)
        agreements.append((large.labels[2::4, 2::4] == small.labels).mean())
        enlarged = large.photo.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
        assert np.abs(enlarged - small.photo).mean() < 12
    assert min(agreements) > 0.93


def test_light_and_weather_leave_the_labels_alone() -> None:
    labels = render(5, 3, 96, 96).labels
    photos = set()
    for weather in WEATHERS:
        for hour in HOURS:
            street = render(5, 3, 96, 96, weather=weather, hour=hour)
            assert (street.weather, street.hour) == (weather, hour)
            np.testing.assert_array_equal(street.labels, labels)
            photos.add(street.photo.tobytes())
    assert len(photos) == len(WEATHERS) * len(HOURS)


def test_every_weather_and_hour_is_drawn(scenes: list[Street]) -> None:
    assert {street.weather for street in scenes} == set(WEATHERS)
    assert {street.hour for street in scenes} == set(HOURS)


def test_all_nineteen_classes_appear_and_no_others(scenes: list[Street]) -> None:
    seen = set(np.unique(np.stack([street.labels for street in scenes])).tolist())
    assert seen == set(TRAIN_LABELS) and len(TRAIN_LABELS) == 19


def test_a_typical_picture_is_mostly_road_buildings_and_sky(scenes: list[Street]) -> None:
    labels = np.stack([street.labels for street in scenes])
    share = {label: (labels == label).mean() for label in TRAIN_LABELS}
    assert 0.25 < share[c.ROAD] < 0.5 and 0.1 < share[c.BUILDING] < 0.35 and 0.08 < share[c.SKY] < 0.3
    with_cars = [(street.labels == c.CAR).any() for street in scenes]
    assert np.mean(with_cars) > 0.85


def test_instances_number_the_countable_classes_and_repeat_the_others(scenes: list[Street]) -> None:
    countable = {c.PERSON, c.RIDER, c.CAR, c.TRUCK, c.BUS, c.TRAIN, c.MOTORCYCLE, c.BICYCLE}
    for street in scenes[:40]:
        numbered = np.isin(street.labels, list(countable))
        np.testing.assert_array_equal(street.instances[numbered] // 1000, street.labels[numbered])
        np.testing.assert_array_equal(street.instances[~numbered], street.labels[~numbered])
    cars = max(len(np.unique(street.instances[street.labels == c.CAR])) for street in scenes[:40])
    assert cars >= 4


def test_colour_maps_every_label_to_its_palette_entry(scenes: list[Street]) -> None:
    for street in scenes[:5]:
        for label in np.unique(street.labels):
            assert (street.colour[street.labels == label] == CLASSES[int(label)][1]).all()
    assert len({tuple(PALETTE[label]) for label in TRAIN_LABELS}) == 19
    assert colour(np.array([[c.ROAD, c.SKY]], np.uint8)).tolist() == [[[128, 64, 128], [70, 130, 180]]]


def test_train_ids_count_the_train_labels() -> None:
    assert [CLASSES[label][2] for label in TRAIN_LABELS] == list(range(19))


def test_a_clear_sky_is_blue_leaves_are_green_and_roads_are_grey(clear_days: list[Street]) -> None:
    red, green, blue = mean_colour(clear_days, c.SKY)
    assert blue > green > red and blue > 170
    red, green, blue = mean_colour(clear_days, c.VEGETATION)
    assert green > red and green > blue + 20
    road = mean_colour(clear_days, c.ROAD)
    assert road.max() - road.min() < 15 and 70 < road.mean() < 150


def test_night_is_darker_than_dusk_and_dusk_than_day() -> None:
    light = {
        hour: np.mean([render(6, i, 64, 64, weather="clear", hour=hour).photo.mean() for i in range(8)])
        for hour in HOURS
    }
    assert light["night"] < 0.6 * light["dusk"] and light["dusk"] < 0.9 * light["day"]


def house_greys(weather: str, hour: str, columns: slice) -> np.ndarray:
    """Grey levels of the houses in these columns of the picture; in the middle ones they are far."""
    streets = [render(6, index, 128, 128, weather=weather, hour=hour) for index in range(8)]
    strips = [(street.photo[:, columns], street.labels[:, columns]) for street in streets]
    return np.concatenate([photo[labels == c.BUILDING] for photo, labels in strips]).mean(axis=1)


def test_windows_shine_at_night_among_dark_walls() -> None:
    def shine(hour: str) -> float:
        greys = house_greys("clear", hour, slice(0, 128))
        return float(np.percentile(greys, 98) / np.median(greys))

    assert shine("night") > 2 * shine("day")


def test_fog_hides_the_distance() -> None:
    middle = slice(43, 85)
    assert house_greys("fog", "day", middle).std() < 0.75 * house_greys("overcast", "day", middle).std()


def test_snow_whitens_the_sidewalk() -> None:
    snowy, bare = ([render(8, i, 64, 64, weather=w, hour="day") for i in range(8)] for w in ("snow", "overcast"))
    assert mean_colour(snowy, c.SIDEWALK).mean() > mean_colour(bare, c.SIDEWALK).mean() + 25


def test_a_photo_is_more_than_its_recoloured_label_map(clear_days: list[Street]) -> None:
    for street in clear_days:
        road = street.photo[street.labels == c.ROAD].astype(float)
        assert road.std(axis=0).min() > 8


def test_photo_and_labels_share_their_edges(clear_days: list[Street]) -> None:
    """Beside the border of the sky, photo pixels of the sky are blue and those of houses are not."""
    sky, house = [], []
    for street in clear_days:
        above, below = street.labels[:-1] == c.SKY, street.labels[1:] == c.BUILDING
        rows, columns = np.nonzero(above & below)
        sky.append(street.photo[rows - 1, columns])
        house.append(street.photo[np.minimum(rows + 3, 127), columns])
    blueness = [float(np.mean(np.concatenate(side)[:, 2] * 1.0 - np.concatenate(side)[:, 0])) for side in (sky, house)]
    assert blueness[0] > blueness[1] + 25


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"width": 31, "height": 64}, "32 pixels"),
        ({"width": 64, "height": 64, "weather": "hail"}, "clear, fog"),
        ({"width": 64, "height": 64, "hour": "noon"}, "day, dusk, night"),
    ],
)
def test_what_cannot_be_rendered_is_said_in_one_line(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        render(0, 0, **arguments)  # type: ignore[arg-type]
