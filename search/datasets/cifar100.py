"""CIFAR-100: 60,000 images of 32×32 pixels, 100 classes in 20 coarse ones.

The official test split is kept; 5,000 images, 50 a class, are cut from the official
training split for validation. Always stored at 32 pixels, whatever size networks see.

Source: Krizhevsky 2009, through tensorflow-datasets (`cifar100`).
"""

from search.datasets.sources import Request, Source
from search.datasets.tfds_classification import tfds_source


def find_cifar100(request: Request) -> Source:
    """Return CIFAR-100, fetched first where it is not there.

    Raises:
        InputError: it cannot be fetched.
    """
    return tfds_source("cifar100", None, request)
