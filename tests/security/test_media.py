"""Hostile names in what the verbs print, log and submit: each medium asked through what a user calls."""

import io
import json
import logging
import shlex
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.render.test_escape import hostile
from tests.study.strategies import result
from tests.study.strategies import task as make_task
from toolkit import cli, logs
from toolkit.cluster.array import JobArray
from toolkit.cluster.container import HOST
from toolkit.cluster.profile import Profile, load_profile
from toolkit.errors import ToolkitError, UsageError
from toolkit.launching.snapshot import StudySnapshot
from toolkit.render import escape
from toolkit.render.states import failures, overview
from toolkit.study import Study
from toolkit.study.result import Failure
from toolkit.study.submission import new_submission, record_path

SOME = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONTROLS = ("Cc", "Cs", "Zl", "Zp")


def harmless(text: str) -> bool:
    """Whether a terminal would only write the text: lines and tabs, no other control, no change of direction."""
    letters = set(text) - {"\n", "\t"}
    return not any(unicodedata.category(letter) in CONTROLS or letter in "\u202e\u2066\ufeff" for letter in letters)


@SOME
@given(text=hostile)
@example(text="\x9b31m\u202e\x1b]0;owned\x07")
def test_errors_notes_and_what_is_said_are_harmless(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.complain(ToolkitError(text))
    cli.say(text)
    printed = capsys.readouterr()
    assert harmless(printed.err) and harmless(printed.out) and printed.err.count("\n") == 1


@SOME
@given(hostile)
def test_notes_of_our_modules_are_harmless(text: str) -> None:
    root, out = logging.getLogger(), io.StringIO()
    before, stderr = root.handlers[:], sys.stderr
    root.handlers[:], sys.stderr = [], out
    try:
        with pytest.raises(SystemExit):
            cli.run(lambda _: logging.getLogger("toolkit.x").info("note: %s", text) or 0)
    finally:
        root.handlers[:], sys.stderr = before, stderr
    assert "note: " in out.getvalue() and harmless(out.getvalue())


@SOME
@given(text=hostile)
def test_a_json_document_on_a_terminal_means_the_same(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = text.encode("utf-8", "replace").decode()
    cli.print_json({text: [text]})
    printed = capsys.readouterr().out
    assert harmless(printed) and json.loads(printed) == {text: [text]}


@SOME
@given(name=hostile, message=hostile)
def test_the_states_of_a_hostile_study_are_shown_as_they_are(name: str, message: str, tmp_path: Path) -> None:
    name, message = (text.encode("utf-8", "replace").decode() for text in (name, message))
    study = Study.create(tmp_path / f"study{len(list(tmp_path.iterdir()))}")
    task = make_task(dataset=f"d{name}")
    study.declare([task])
    failure = Failure(kind="E", message=message)
    result(task).model_copy(update={"status": "failed", "failure": failure}).write(study.result_path(task.id))
    out = io.StringIO()
    console = Console(file=out, width=10_000, force_terminal=True, color_system=None)
    look = StudySnapshot.of(str(study.path))
    console.print(overview(look))
    console.print(failures(look))
    assert harmless(out.getvalue()) and escape.terminal(f"d{name}") in out.getvalue()
    assert escape.terminal(f"E: {message}") in out.getvalue()


@SOME
@given(printed=st.lists(hostile, min_size=1, max_size=3))
def test_the_log_of_a_task_is_shown_harmless(printed: list[str], tmp_path: Path, capsys) -> None:
    study = Study.create(tmp_path / f"study{len(list(tmp_path.iterdir()))}")
    task = make_task()
    study.declare([task])
    submission = new_submission(study, "local", [[task.id]], study.path)
    submission.write(record_path(study, submission))
    lines = "".join(f"{task.id} {line}\n" for line in printed)
    path = study.room("logs") / f"{submission.name}.worker0.log"
    path.write_bytes(lines.encode("utf-8", "surrogatepass"))
    assert logs.main([str(study.path), task.id]) == 0
    assert harmless(capsys.readouterr().out)


LINES = ("partition", "account", "qos", "constraint", "exclude", "gres", "python", "apptainer")


@SOME
@given(key=st.sampled_from(LINES), before=hostile, after=hostile, end=st.sampled_from("\n\r\0"))
def test_a_value_of_a_profile_is_one_line(key: str, before: str, after: str, end: str, tmp_path: Path) -> None:
    value = (before + end + after).encode("utf-8", "replace").decode()
    for line in (f"{key} = {json.dumps(value)}", f"[sbatch]\ncomment = {json.dumps(value)}"):
        (tmp_path / "p.toml").write_text(line)
        with pytest.raises(UsageError) as refused:
            load_profile(str(tmp_path / "p.toml"))
        assert "\n" not in str(refused.value)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0\\%"), min_size=1, max_size=8)


@SOME
@given(name=(hostile | WORDS).map(lambda text: text.replace("\0", "")), value=WORDS)
@example(name="a b'; touch /tmp/attacked; '", value="x")
@example(name="$(touch /tmp/attacked)`x`", value="gpu --wrap=x")
def test_a_batch_script_has_no_line_or_word_of_a_names_making(name: str, value: str) -> None:
    record = f"/runs/{name}/submissions/x.json"
    folder, plain = Path(f"/runs/{name}/logs"), Path("/runs/plain/logs")

    def script(logs_folder: Path, record: str, qos: str) -> list[str]:
        profile = Profile(qos=qos)
        return JobArray(profile, HOST, "name", logs_folder, ("-m", "x", record), 2, 1).script().split("\n")

    if any(letter in str(folder) for letter in "%\n\\"):
        with pytest.raises(UsageError, match="Slurm cannot write logs"):
            script(folder, record, value)
        return
    hostile_lines, harmless_lines = script(folder, record, value), script(plain, "/x", "y")
    assert len(hostile_lines) == len(harmless_lines)
    (run,) = [line for line in hostile_lines if line.startswith("srun")]
    assert shlex.split(run)[-1] == record
    options = [line.partition("=")[0] for line in hostile_lines if line.startswith("#SBATCH")]
    assert options == [line.partition("=")[0] for line in harmless_lines if line.startswith("#SBATCH")]


@SOME
@given(hostile)
@example("</script><script>alert(1)//")
@example("<!--<script>")
def test_data_in_a_page_ends_no_script(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    written = escape.script({text: [text]})
    assert not set(written) & set("<>&")
    assert json.loads(written) == {escape.visible(text): [escape.visible(text)]}
