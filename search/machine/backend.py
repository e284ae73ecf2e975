"""Load Keras in the process a person looks at, without TensorFlow's notes."""

import logging
import os
import sys
import tempfile

from search.environment import is_command
from search.errors import InputError
from search.machine.preloading import UNUSED, hidden


def load_keras() -> None:
    """Import Keras; what C++ prints meanwhile is shown where that fails.

    TensorFlow 2.21 notes a missing GPU on the error stream before any setting of its
    log level takes effect. A user's program gets all of Keras, the command line what it
    needs.

    Raises:
        InputError: the backend that Keras is told to use is not installed.
    """
    if "keras" in sys.modules:
        return
    # It warns of every network traced after a few, which is what exporting many is.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            with hidden(UNUSED if is_command() else ()):
                import keras  # noqa: F401
                import keras_tuner  # noqa: F401
        except ModuleNotFoundError as error:
            raise InputError(
                "an installed backend of Keras",
                str(error),
                "Install tensorflow, or install jax and set KERAS_BACKEND=jax",
            ) from error
        except Exception:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
