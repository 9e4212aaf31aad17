"""Crops: windows of the image in one of eight orientations, keyed by name."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.images import BadImage
from src.images.crop import Centre, Crop, Whole
from src.recipes import operator_recipe


def numbered(height: int, width: int) -> torch.Tensor:
    """An image whose pixels are all different, to find a crop's place by."""
    values = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(values)


def orientations(window: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(window, turns, axes=(1, 2)) for turns in range(4)]
    return turned + [each[:, ::-1] for each in turned]


def find(image: np.ndarray, crop: np.ndarray) -> set[int]:
    """The orientations in which a crop is a window of an image."""
    size = crop.shape[-1]
    found = set()
    for number, oriented in enumerate(orientations(crop)):
        windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
        if (windows == oriented[:, np.newaxis, np.newaxis]).all(axis=(0, 3, 4)).any():
            found.add(number)
    return found


@settings(max_examples=25)
@given(st.integers(5, 20), st.integers(5, 20), st.integers(2, 5), st.integers(0, 3))
def test_every_crop_is_a_window_turned_or_flipped(height: int, width: int, size: int, seed: int) -> None:
    image = numbered(height, width)
    crops = list(Crop(size=size, count=4)(image, seed, "content", 0))
    assert [crop.shape for crop in crops] == [(3, size, size)] * 4
    assert all(find(image.numpy(), crop.numpy()) for crop in crops)


@settings(max_examples=40)
@given(st.integers(5, 30), st.integers(5, 30), st.integers(1, 5), st.integers(0, 3), st.booleans())
def test_one_look_up_gives_the_same_crops(height: int, width: int, size: int, seed: int, planar: bool) -> None:
    image = numbered(height, width)
    image = image if planar else image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    crop = Crop(size=size, count=20)
    cut = crop.cut(image, seed, "content", 0)
    assert len(cut) == 20
    assert torch.equal(cut.gather(cut.places), torch.stack(list(crop(image, seed, "content", 0))))


@settings(max_examples=40)
@given(st.integers(0, 19), st.data())
def test_crops_are_written_from_any_number_on(first: int, data: st.DataObject) -> None:
    cut = Crop(size=6, count=20).cut(numbered(12, 15), 0, "content", 0)
    out = cut.empty(data.draw(st.integers(1, 20 - first)))
    cut.write(out, first)
    assert torch.equal(out, torch.stack(list(cut)[first : first + len(out)]))


def test_all_eight_orientations_occur_equally_often() -> None:
    image = numbered(12, 15)
    crops = Crop(size=6, count=400)(image, 0, "content", 0)
    counts = np.bincount([min(find(image.numpy(), crop.numpy())) for crop in crops], minlength=8)
    assert counts.min() > 25


def test_places_reach_every_edge() -> None:
    draws = np.random.default_rng(0).random((300, 5))
    places = [Crop(size=8).place((10, 12), row)[:2] for row in draws]
    assert set(places) == {(top, left) for top in range(3) for left in range(5)}


def test_without_orientation_crops_stand_as_they_are() -> None:
    image = numbered(12, 15)
    crops = Crop(size=6, count=20, orient=False)(image, 0, "content", 0)
    assert all(0 in find(image.numpy(), crop.numpy()) for crop in crops)


def test_crops_are_keyed_by_names_alone() -> None:
    image = numbered(40, 50)

    def crops(*names: object, count: int = 5) -> torch.Tensor:
        return torch.stack(list(Crop(size=10, count=count)(image, *names)))

    reference = crops(0, "a", 0)
    assert torch.equal(reference, crops(0, "a", 0))
    assert torch.equal(reference[:3], crops(0, "a", 0, count=3))
    for names in ((1, "a", 0), (0, "b", 0), (0, "a", 1)):
        assert not torch.equal(reference, crops(*names))


def test_rescale_is_opencvs_cubic() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    halved = Crop(size=10, scale=0.5).rescale(image)
    np.testing.assert_array_equal(halved, cv2.resize(image, (0, 0), fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC))
    np.testing.assert_array_equal(Crop(size=10, scale=1.0).rescale(image), image)


def test_a_crop_larger_than_the_image_is_named() -> None:
    image = np.zeros((460, 700, 3), np.uint8)
    with pytest.raises(
        BadImage, match=r"700 x 460 pixels are 350 x 230 at crop.scale=0.5, too small for crop.size=400"
    ):
        Crop(size=400, scale=0.5).rescale(image)


@given(
    height=st.integers(4, 300),
    width=st.integers(4, 300),
    size=st.integers(1, 32),
    scale=st.sampled_from([0.3, 0.5, 1.0]),
)
@settings(max_examples=40)
def test_a_crop_that_fits_changes_the_scale_of_no_image_but_those_too_small(
    height: int, width: int, size: int, scale: float
) -> None:
    alone, fitting = Crop(size=size, scale=scale), Crop(size=size, scale=scale, fit=True)
    scaled = fitting.scaled(height, width)
    assert min(scaled) == max(size, min(alone.scaled(height, width)))
    assert fitting.rescale(np.zeros((height, width, 3), np.uint8)).shape[:2] == scaled
    assert scaled[0] / scaled[1] == pytest.approx(height / width, rel=1 / min(scaled))


@pytest.mark.parametrize("wrong", [{"size": 0}, {"count": 0}, {"scale": 0.0}, {"scale": -1.0}])
def test_parameters_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must hold, but got"):
        Crop(**wrong)


@pytest.mark.parametrize("shape", [(30, 70), (70, 30), (500, 400), (64, 64)])
def test_the_whole_image_becomes_a_square(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[: shape[0] // 2] = 200
    scaled = Whole(size=64).rescale(image)
    (crop,) = Whole(size=64)(torch.from_numpy(scaled).permute(2, 0, 1), 0, "content", 0)
    assert crop.shape == (3, 64, 64)
    assert (crop[:, :28] == 200).all()
    assert (crop[:, 36:] == 0).all()


@pytest.mark.parametrize("shape", [(300, 700), (700, 300), (40, 50)])
def test_the_centre_is_cut_from_the_shorter_side(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[shape[0] // 2 - 2 : shape[0] // 2 + 2, shape[1] // 2 - 2 : shape[1] // 2 + 2] = 255
    crop = Centre(size=224, shorter=256)
    scaled = crop.rescale(image)
    assert min(scaled.shape[:2]) == 256
    (window,) = crop(torch.from_numpy(scaled).permute(2, 0, 1), 0, "content", 0)
    assert window.shape == (3, 224, 224)
    rows, columns = np.nonzero(window[0].numpy() > 128)
    assert (rows.mean(), columns.mean()) == pytest.approx((111.5, 111.5), abs=2)


def test_the_centre_may_be_turned() -> None:
    image = numbered(9, 9)
    crops = list(Centre(size=5, shorter=9, count=40, orient=True)(image, 0, "content", 0))
    middle = image[:, 2:7, 2:7].numpy()
    assert len({next(iter(find(middle, crop.numpy()))) for crop in crops}) == 8


@pytest.mark.parametrize("shape", [(1536, 2048), (460, 700), (301, 227), (224, 225), (100, 60)])
def test_an_antialiased_centre_is_torchvisions(shape: tuple[int, int]) -> None:
    """The pixels of eva's ResizeAndCrop: torchvision resizes in whole numbers where the processor can, else rounds."""
    from torchvision.transforms import v2

    drawn = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    theirs = v2.Compose([v2.Resize(224), v2.CenterCrop(224)])(torch.from_numpy(drawn).permute(2, 0, 1))
    crop = Centre(size=224, shorter=224, resampling="antialiased")
    scaled = crop.rescale(drawn)
    assert scaled.shape[:2] == crop.scaled(*shape)
    (ours,) = crop(torch.from_numpy(scaled).permute(2, 0, 1), 0, "content", 0)
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_a_centre_keeps_its_recipe_unless_it_is_resampled_otherwise() -> None:
    assert "resampling" not in operator_recipe(Centre())
    assert operator_recipe(Centre(resampling="antialiased"))["resampling"] == "antialiased"


def test_a_centre_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="`shorter >= size` must hold, but got shorter=200, size=224"):
        Centre(shorter=200)


def test_crops_that_share_a_map_are_turned_together_in_eight_ways() -> None:
    image = numbered(12, 15)
    crop = Crop(size=6, sharing="map")
    turned = [crop.turn(image, 0, "content", number) for number in range(200)]
    ways = [
        next(number for number, way in enumerate(orientations(image.numpy())) if np.array_equal(way, each.numpy()))
        for each in turned
    ]
    assert np.bincount(ways, minlength=8).min() > 10
    assert torch.equal(turned[0], Crop(size=8, sharing="map", count=1).turn(image, 0, "content", 0))  # for all sizes
    assert torch.equal(Crop(size=6, orient=False, sharing="map").turn(image, 0, "content", 0), image)


def test_crops_that_share_a_map_reach_every_place_equally_often() -> None:
    rows, columns = Crop(size=6, count=1200, sharing="map").cells((3, 4), 0, "content", 0)
    counts = np.bincount(4 * rows + columns, minlength=12)
    assert len(counts) == 12
    assert counts.min() > 60
    few = Crop(size=8, count=5, sharing="map").cells((3, 4), 0, "content", 0)
    np.testing.assert_array_equal(few, (rows[:5], columns[:5]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sharing": "some"}, "`sharing` must be one of exact, map, but got sharing=some"),
        (
            {"together": [400, 650]},
            r"in one pass, but got together=\[400, 650\], sharing=exact",
        ),
        ({"sharing": "map", "together": [400], "fit": True}, "`together` needs fit=false"),
        ({"sharing": "map", "together": [0]}, "`together` must hold crop sizes from 1 on"),
    ],
)
def test_sharing_checks_itself(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Crop(**wrong)


@pytest.mark.parametrize("kind", [Whole, Centre])
def test_an_images_only_crop_takes_nothing_that_would_not_change_it(kind: type[Crop]) -> None:
    name = kind.__name__.lower()
    with pytest.raises(ValueError, match=rf"crop={name} resizes .* crop.scale=0.5 would change nothing"):
        kind(scale=0.5)
    with pytest.raises(ValueError, match="crop.count=3 would change nothing: leave it out, or take crop.orient=true"):
        kind(count=3)
    with pytest.raises(ValueError, match=f"crop={name} fits every image, so that crop.fit=true would change nothing"):
        kind(fit=True)
    assert kind(count=3, orient=True).count == 3


@pytest.mark.parametrize("kind", [Whole, Centre])
def test_an_only_crop_shares_nothing(kind: type[Crop]) -> None:
    with pytest.raises(ValueError, match=f"`sharing=exact` must hold for crop={kind.__name__.lower()}"):
        kind(size=64, sharing="map")
