"""What a hypermodel refuses in words of its own, so that a program can tell why."""


class ImageSizeError(ValueError):
    """No network of the space works at the size of the images."""


class WeightsError(ValueError):
    """The weights fit no network of the space."""
