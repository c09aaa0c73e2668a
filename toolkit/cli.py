"""What every verb shares: exit statuses, one-line errors, and where output goes."""

import argparse
import difflib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from toolkit.errors import ToolkitError, UsageError
from toolkit.visible import visible, visible_json, visible_lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Main = Callable[[Sequence[str]], int]
Request = TypeVar("Request", bound="DataclassInstance")


def run(main: Main) -> NoReturn:
    """Call ``main(argv)`` and exit with its status; a `ToolkitError` becomes one line on stderr.

    Status 0: success; 1: a failed run; 2: a wrong call; 130: interrupted. A reader that closes the pipe
    early (``| head``) is no error.
    """
    _show_notes()
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except ToolkitError as error:
        complain(error)
        status = error.exit_status
    except PermissionError as error:  # of whatever file on the way: another user's folder
        complain(
            f"{error.filename or error} is not open to you ({error.strerror}): ask its owner, or name another place"
        )
        status = 1
    except KeyboardInterrupt as error:
        complain(error if error.args else "interrupted")
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):  # by which rich ends a program, with status 1
            raise
        status = 0
    sys.exit(status)


def _show_notes() -> None:
    """Print what our own modules log for the user on stderr, line by line."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Notes("%(message)s"))
    logging.basicConfig(handlers=[handler])
    for package in ("toolkit", "data_prep"):
        logging.getLogger(package).setLevel(logging.INFO)


class _Notes(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The record's text, whose names may be strangers'."""
        return visible_lines(super().format(record))


def say(*texts: object, end: str = "\n", to: TextIO | None = None) -> None:
    """Print for a person, on stdout or where said; control characters in names of strangers are spelled out.

    What cannot be written to stderr is let go: a log on a full disk must not end the training that it tells of.
    """
    try:
        print(visible_lines(" ".join(map(str, texts))), end=end, file=to, flush=True)
    except OSError:
        if to is not sys.stderr:
            raise


def complain(message: object) -> None:
    """Print one ``error:`` line on stderr; line breaks inside the message are folded."""
    say("error:", visible(str(message)), to=sys.stderr)


def print_json(document: Any) -> None:
    """Print the one JSON document of a ``--json`` call on stdout (NaN and infinity become null)."""
    import orjson  # here: `toolkit.cluster.versions` runs in images that may lack it, to say so

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(visible_json(orjson.dumps(document, default=str, option=options).decode()) + "\n")


def pack_size(text: str) -> int:
    """The argument of ``--pack``: how many nets at a time; 0 for "auto"."""
    if text == "auto":
        return 0
    return positive(text)


def positive(text: str) -> int:
    """An argument that is a number of things, one at least."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return int(text)


def hours(text: str) -> float:
    """An argument that is an amount of hours."""
    try:
        if (value := float(text)) > 0 and value < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text} is no number of hours")


class _AddUp(argparse._ExtendAction):
    """Several values of one option, from all places where it was given; they take the default's place."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, *rest: Any) -> None:
        if getattr(namespace, self.dest, None) is self.default:
            setattr(namespace, self.dest, [])
        super().__call__(parser, namespace, *rest)


def _store(option_strings: Sequence[str], *arguments: Any, **options: Any) -> argparse.Action:
    """The action of an argument that names none: an option that takes several values adds up when it is given twice."""
    adds_up = option_strings and options.get("nargs") in ("+", "*")
    action = _AddUp if adds_up else argparse._StoreAction
    return action(option_strings, *arguments, **options)


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a call in one line, like every other error."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register("action", None, _store)

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`."""
        unknown = message.partition("unrecognized arguments: ")[2].split("=")[0].split()
        near = difflib.get_close_matches(unknown[0], self._option_string_actions, 1) if unknown else []
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"{message} ({hint}{self.prog} --help lists all options)")


def parser(prog: str, doc: str | None, **kwargs: Any) -> Parser:
    """An argument parser whose help is the module's docstring as it was written."""
    return Parser(
        prog=f"python -m {prog}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **kwargs,
    )


def filled(request: type[Request], given: argparse.Namespace) -> Request:
    """A frozen dataclass from the options that are named as its fields; lists become tuples, which cannot change.

    A field that the command has no option for keeps its default.
    """
    names = [field.name for field in fields(request) if field.name in given]
    options = {name: getattr(given, name) for name in names}
    return request(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})
