"""Reading one image or mask file of any mode."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.datasets.images import read_image, read_mask, resize_image, resize_mask
from search.errors import InputError

RED = (200, 30, 40)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode in ("CMYK", "YCbCr") else "png"
    image = Image.new("RGB", (7, 5), RED).convert(mode)
    pixels = read_image(saved(tmp_path / f"a.{suffix}", image))
    assert (pixels.shape, pixels.dtype) == ((5, 7, 3), np.uint8)
    expected = np.asarray(image.convert("RGB"))
    assert np.abs(pixels.astype(int) - expected).max() <= 2


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    path = saved(tmp_path / "a.png", Image.fromarray(values))
    assert read_image(path)[0, :, 0].tolist() == [0, 100, 255]


def test_fractions_become_grey_levels(tmp_path: Path) -> None:
    values = np.array([[0, 0.5, 1]], np.float32)
    path = saved(tmp_path / "a.tif", Image.fromarray(values))
    assert read_image(path)[0, :, 0].tolist() == [0, 128, 255]


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGBA", (4, 4), (*RED, 0)))
    assert (read_image(path) == 255).all()


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (20, 10), RED), exif=exif)
    assert read_image(path).shape == (20, 10, 3)


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, "blue")]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert read_image(path)[0, 0].tolist() == list(RED)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no image at all", "no image or damaged"),
        (b"\x89PNG\r\n\x1a\n", "no image or damaged"),
        (None, "does not exist"),
    ],
)
def test_unreadable_files_are_named_with_the_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"broken.png, which.*{reason}"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_files_are_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = saved(tmp_path / f"cut.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match=r"cut\.\w+, which is damaged.*--skip-unread"):
        read_image(path)


def test_decompression_bombs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "bomb.png", Image.new("1", (3000, 1000)))
    for limit in (2_000_000, 1_000_000):  # Pillow warns at one, raises at twice it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match=r"megapixels.*bomb\.png"):
            read_image(path)


def test_masks_keep_their_stored_values(tmp_path: Path) -> None:
    values = np.array([[0, 1, 20, 255]], np.uint8)
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette(list(range(256)) * 3)
    assert read_mask(saved(tmp_path / "p.png", image)).tolist() == values.tolist()
    grey = saved(tmp_path / "l.png", Image.fromarray(values))
    assert read_mask(grey).tolist() == values.tolist()
    bits = saved(tmp_path / "1.png", Image.fromarray(values > 0))
    assert read_mask(bits).tolist() == [[0, 1, 1, 1]]


def test_sixteen_bit_masks_stay_foreground(tmp_path: Path) -> None:
    values = np.array([[0, 3, 512, 65535]], np.uint16)
    path = saved(tmp_path / "a.png", Image.fromarray(values))
    assert read_mask(path).tolist() == [[0, 3, 1, 1]]


def test_grey_masks_in_colour_are_read_and_coloured_ones_refused(
    tmp_path: Path,
) -> None:
    grey = saved(tmp_path / "grey.png", Image.new("RGB", (2, 2), (9, 9, 9)))
    assert (read_mask(grey) == 9).all()
    coloured = saved(tmp_path / "coloured.png", Image.new("RGB", (2, 2), RED))
    with pytest.raises(InputError, match=r"coloured\.png"):
        read_mask(coloured)


def test_resizing_averages_images_and_keeps_mask_values() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize_image(stripes, 8, 8)
    assert abs(int(small.mean()) - 100) < 5  # antialiased: no stripe is picked
    assert small.std() < 20
    mask = np.array([[0, 255], [1, 0]], np.uint8)
    assert set(np.unique(resize_mask(mask, 7, 5))) == {0, 1, 255}
    assert resize_mask(mask, 7, 5).shape == (7, 5)


def test_sixteen_bits_are_read_alike_whatever_one_image_holds(tmp_path: Path) -> None:
    for top in (200, 4095, 65535):
        values = np.array([[0, top]], np.uint16)
        path = saved(tmp_path / f"{top}.tif", Image.fromarray(values))
        assert read_image(path)[0, 1].tolist() == [round(top / 257)] * 3
    values = np.array([[0, 200]], np.int32)
    path = saved(tmp_path / "whole.tif", Image.fromarray(values))
    assert read_image(path)[0, 1].tolist() == [200] * 3


@pytest.mark.parametrize(
    "values", [[[0, -1]], [[0, 0.5]], [[0, float("nan")]]], ids=["minus", "half", "nan"]
)
def test_masks_of_other_numbers_are_refused(
    values: list[list[float]], tmp_path: Path
) -> None:
    is_whole = all(isinstance(value, int) for value in values[0])
    array = np.array(values, np.int32 if is_whole else np.float32)
    path = saved(tmp_path / "a.tif", Image.fromarray(array))
    with pytest.raises(InputError, match=r"whole numbers.*a\.tif"):
        read_mask(path)
