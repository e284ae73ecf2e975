"""The command line: its verbs, its exit codes and its one line for what went wrong.

Nothing here or imported here loads TensorFlow: verbs load what they need when called.
"""

import errno
import gc
import os
import shlex
import shutil
import signal
import sys
import traceback
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

import hypermodels
import search
from search.commands import compare, look, make, use
from search.commands.examples import epilog
from search.environment import COMMAND
from search.errors import InputError
from search.machine.room import STORAGE_FAILS, refusal

# What typer makes of Ctrl-C: 128 + SIGINT.
INTERRUPTED = 130
# Verbs that keep what they have done so far.
GO_ON = ("search", "finalize", "compare", "export", "data", "demo")
# What the operating system does not allow: another folder, or other permissions.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
# Columns above which help would be hard to read.
WIDEST_HELP = 100

app = typer.Typer(
    help="Search hyperparameters of image models, retrain the best, combine them into"
    " an ensemble and export models that were checked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Start with `vision-tuner demo`, or `vision-tuner search cifar100-convnet"
    " --name small --limit-train 5000 --epochs 9`.",
)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"vision-tuner {metadata.version('vision-tuner')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Search hyperparameters of image models and finish the job."""


for verb in (
    look.studies,
    look.data,
    look.init,
    look.space,
    make.search,
    look.trials,
    make.finalize,
    compare.compare,
    use.export,
    use.predict,
    look.report,
    look.board,
    use.demo,
):
    app.command(epilog=epilog(verb.__name__))(verb)


def main() -> None:
    """Run the command line; exit with 0 (done), 1 (failed) or 2 (wrong input).

    SIGTERM, where nothing waits for running epochs: 143.
    """
    signal.signal(signal.SIGTERM, leave_tidy)
    status = run(sys.argv[1:])
    # Python ends with a search for garbage in all that was imported: 0.8 s with Keras.
    gc.freeze()
    sys.exit(status)


def leave_tidy(number: int, frame: FrameType | None) -> None:
    """End as an exception does, so that what is half-written is removed."""
    sys.exit(128 + number)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code, with one line for what went wrong."""
    complain = Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print
    # Set before TensorFlow is loaded: its notes on missing GPUs are not our output.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Read by typer when it first shows help.
    if shutil.get_terminal_size().columns > WIDEST_HELP:
        os.environ.setdefault("TERMINAL_WIDTH", str(WIDEST_HELP))
    command = plain_flags(typer.main.get_command(app))
    told = COMMAND.set(shlex.join(["vision-tuner", *arguments]))
    try:
        status = command.main(
            arguments, prog_name="vision-tuner", standalone_mode=False
        )
    except InputError as error:
        complain(f"vision-tuner: {error.in_full()}")
        return 2
    except Exception as error:
        usage = usage_message(error)
        if usage is not None:
            if usage:  # help was asked for, by no arguments: it is the answer
                complain(f"vision-tuner: {usage}")
            return 2
        if isinstance(error, OSError) and error.errno in REFUSED:
            complain(f"vision-tuner: {refused(error)}")
            return 2
        if isinstance(error, OSError) and error.errno in STORAGE_FAILS:
            complain(f"vision-tuner: {refusal(Path(), error)}")
            return 1
        if isinstance(error, RuntimeError) and is_told_by_us(error):
            complain(f"vision-tuner: {error or type(error).__name__}")
            return 1
        raise
    finally:
        COMMAND.reset(told)
    if status == INTERRUPTED:
        goes_on = arguments[:1] and arguments[0] in GO_ON
        complain(
            "vision-tuner: stopped"
            + ("; the same command goes on from here" if goes_on else "")
        )
        return 1
    return status if isinstance(status, int) else 0


def is_told_by_us(error: BaseException) -> bool:
    """Return whether this package raised an error, so that its message says it all.

    Of one from a network or tuner of the user's, or from a library, the trace is told.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = (Path(search.__file__).parent, Path(hypermodels.__file__).parent)
    return any(Path(frames[-1].filename).is_relative_to(folder) for folder in own)


def plain_flags(group: Any) -> Any:
    """Let help show flags as they are written: without a value."""
    for command in (group, *group.commands.values()):
        own = command.get_help_option(typer.Context(command))
        for option in (*command.params, own):
            if getattr(option, "is_flag", False):
                option.metavar = " "  # an empty one becomes <bool>
    return group


def refused(error: OSError) -> InputError:
    """Return in our words what the operating system does not allow."""
    name = f": {error.filename}" if error.filename else ""
    return InputError(
        f"a file or folder that can be read and written{name}",
        error.strerror or str(error),
        "Change its permissions, or choose another one",
    )


def usage_message(error: Exception) -> str | None:
    """Return the message of a wrong option or argument, or None for other errors.

    Empty where nothing is wrong but that all of it is missing.
    """
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    context = getattr(error, "ctx", None)
    verb = context.command_path if context is not None else "vision-tuner"
    told = describe()
    if not told:
        return ""
    return f"{told}{'' if told.endswith(('.', '?')) else '.'} Try `{verb} --help`."
