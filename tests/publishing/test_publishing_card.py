"""What a card says: what the hub reads of it, the scores as the run has them, limits that follow from the model."""

import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from published import RECIPES, USE, untrained

from commands import Gesso, contents, refused
from conftest import toy
from gesso.publishing.words import LICENCES
from gesso.recipe import BUILTIN_STREETS

Published = Callable[..., str]


@pytest.fixture
def card(tmp_path: Path, gesso: Gesso) -> Published:
    """Publishes a run and gives its card."""

    def published(run: Path, *flags: object) -> str:
        assert gesso("publish", run, "--to", tmp_path / "shared", *flags).code == 0
        return (tmp_path / "shared" / "README.md").read_text()

    return published


def front(text: str) -> Any:
    return yaml.safe_load(text.split("---\n")[1])


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def with_recipe(run: Path, **changes: Any) -> Path:
    """The run with other fields in its recipe."""
    values = json.loads((run / "recipe.json").read_text())
    for name, value in changes.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    (run / "recipe.json").write_text(json.dumps(values))
    return run


def test_the_hub_reads_what_it_is(run: Path, card: Published) -> None:
    words = ("--licence", "CC-BY-NC-4.0", "--name", "Façades", "--dataset", "me/facades", "me/more")
    told = front(card(run, *words))
    scores = json.loads((run / "metrics.json").read_text())["rows"][0]
    assert told["license"] == "cc-by-nc-4.0"
    assert (told["library_name"], told["pipeline_tag"]) == ("gesso", "image-to-image")
    assert told["tags"] == ["gesso", "pix2pix"] and told["datasets"] == ["me/facades", "me/more"]
    (index,) = told["model-index"]
    (result,) = index["results"]
    assert index["name"] == "Façades"
    assert result["task"] == {"type": "image-to-image"}
    assert result["dataset"] == {"name": "pairs", "type": "me/facades", "split": "test"}
    named = {metric["type"]: (metric["value"], metric["name"]) for metric in result["metrics"]}
    assert named == {
        "mae": (scores["L1"], "L1 AtoB"),
        "psnr": (scores["PSNR"], "PSNR AtoB"),
        "ssim": (scores["SSIM"], "SSIM AtoB"),
    }


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("Ask me: <me@home>", {"license": "other", "license_name": "ask-me-me-home"}),
        ("", {}),
    ],
)
def test_licences_are_called_as_the_hub_calls_them(
    licence: str, expected: dict[str, str], run: Path, card: Published
) -> None:
    text = card(run, "--licence", licence)
    told = front(text)
    assert {name: told[name] for name in ("license", "license_name") if name in told} == expected
    assert (licence.replace("<", "&lt;") or "No licence was given: nobody may use it.") in section(text, "Licence")
    assert ("No licence was given" in section(text, "Limits")) == (not licence)


def test_scores_and_protocol_are_those_of_the_run(run: Path, card: Published) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    told = section(card(run), "Scores")
    for row in metrics["rows"]:
        assert re.search(rf"^\| {row['method']} \| \**{row['L1']:.4f}", told, re.MULTILINE), row
    assert [row["method"] for row in metrics["rows"]] == ["gesso", "input copied", "mean target"]
    for line in metrics["protocol"].splitlines():
        assert f"\n- {line}\n" in told
    assert "split `test`" in told


def test_scores_have_the_digits_of_evaluate(run: Path, card: Published, gesso: Gesso) -> None:
    printed = next(line for line in gesso("evaluate", run, "--device", "cpu").out if line.startswith("AtoB"))
    row = next(line for line in section(card(run), "Scores").splitlines() if line.startswith("| gesso "))
    assert row.replace("*", "").split(" | ")[1:] == [*printed.split()[2:4], f"{printed.split()[4]} |"]


def test_a_checkpoint_that_was_not_scored_has_no_scores(run: Path, card: Published) -> None:
    """Those in metrics.json are another one's."""
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "checkpoint": "000000001"}))
    text = card(run)
    assert "This checkpoint was not scored" in section(text, "Scores")
    assert "- It was not scored." in section(text, "Limits")
    assert "model-index" not in front(text)


def test_a_model_that_loses_to_its_baselines_says_so_among_its_limits(run: Path, card: Published) -> None:
    assert "Does not beat the baselines in L1" in section(card(run), "Limits")


def test_scores_of_a_split_that_chose_are_called_flattering(run: Path, card: Published) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["protocol"] += "\ncheckpoint: chosen by AtoB/L1 on split test; the split that is scored here, so its scores"
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert "so its scores flatter it" in section(card(run), "Limits")


def test_damaged_scores_are_no_scores(run: Path, card: Published) -> None:
    (run / "metrics.json").write_text(
        '{"checkpoint": "' + next((run / "checkpoints").glob("0*")).name + '", "rows": 3}'
    )
    assert "This checkpoint was not scored" in card(run)


def test_every_command_on_it_runs(run: Path, pairs: Path, card: Published, gesso: Gesso, tmp_path: Path) -> None:
    text = card(run)
    shutil.copytree(pairs, tmp_path / "datasets" / "pairs")
    shutil.copytree(pairs / "test", tmp_path / "photos")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert [line.split()[1] for line in commands] == ["translate", "evaluate"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for command in commands:
            said = gesso(*shlex.split(command)[1:], *USE)
            assert said.code == 0, (command, said)


@pytest.mark.parametrize(
    ("model", "tag", "use", "limit"),
    [
        (
            "cyclegan",
            "image-to-image",
            "gesso translate shared photos/ -o out-BtoA/ --direction BtoA",
            "may swap meanings",
        ),
        (
            "dcgan",
            "unconditional-image-generation",
            "gesso sample shared -o sheet.png -n 16",
            "32×32 px and no other size",
        ),
        (
            "densenet",
            "image-classification",
            "gesso classify shared photos/ --top 3",
            "knows its classes and nothing else",
        ),
    ],
)
def test_each_kind_of_model_has_its_own_card(
    model: str, tag: str, use: str, limit: str, tmp_path: Path, card: Published
) -> None:
    text = card(untrained(tmp_path / "run", RECIPES[model](tmp_path / "flowers")))
    assert front(text)["pipeline_tag"] == tag
    assert f"\n{use}\n" in section(text, "Use")
    assert limit in section(text, "Limits")
    assert "arxiv.org/abs/" in section(text, "Citation")
    assert "`flowers`" in section(text, "Data")
    assert ("`dark`, `light`" in text) == (model == "densenet")


def test_rendered_streets_are_called_rendered(tmp_path: Path, card: Published) -> None:
    text = card(
        untrained(tmp_path / "run", toy("cyclegan", Path("x"), data=RECIPES["cyclegan"](Path(BUILTIN_STREETS)).data))
    )
    assert "Of photos it was shown none" in section(text, "Limits")
    assert "--data-root" not in section(text, "Use")


def test_what_differs_from_the_recipe_is_a_table_and_a_command(run: Path, card: Published) -> None:
    text = section(card(run), "Training")
    assert "| `--generator.ngf 4` | `64` |" in text
    command = next(line for line in text.splitlines() if line.startswith("gesso train pix2pix "))
    assert "--data.root pairs" in command and "--generator.depth 5" in command


def test_cost_and_provenance_are_told(run: Path, card: Published, tmp_path: Path) -> None:
    text = card(run)
    size = (tmp_path / "shared" / "G.safetensors").stat().st_size
    assert re.search(rf"\| G \| [\d.]+ M \| [\d.]+ G for 3×32×32 \| G.safetensors, {size / 1e6:.2f} MB \|", text)
    told = section(text, "Provenance")
    best = (run / "checkpoints" / "best").read_text().strip()
    assert f"checkpoint {best}, {int(best)} images seen" in told
    assert re.search(r"manifest in its run: `[0-9a-f]{64}`", told) and "trained with gesso" in told


def test_the_sheet_is_the_one_nearest_to_the_checkpoint(run: Path, card: Published, tmp_path: Path) -> None:
    best = int((run / "checkpoints" / "best").read_text())
    sheet = run / "samples" / f"{best:09d}.png"
    later = run / "samples" / f"{best + 1:09d}.png"
    earlier = run / "samples" / f"{best - 1:09d}.png"
    later.write_bytes(sheet.read_bytes()[:-1])
    earlier.write_bytes(sheet.read_bytes())
    sheet.unlink()
    text = card(run)
    assert (tmp_path / "shared" / "sheet.png").read_bytes() == earlier.read_bytes()
    assert f"drawn after {best - 1} images, before this checkpoint" in section(text, "Samples")


def test_a_sheet_from_after_the_checkpoint_says_so(run: Path, card: Published) -> None:
    best = int((run / "checkpoints" / "best").read_text())
    sheet = run / "samples" / f"{best:09d}.png"
    for drawn in run.glob("samples/*.png"):
        drawn.replace(run / "samples" / f"{best + 7:09d}.png")
    assert not sheet.exists()
    assert f"drawn after {best + 7} images, after this checkpoint" in section(card(run), "Samples")


def test_an_imported_model_says_where_from_and_not_how_it_was_trained(run: Path, card: Published) -> None:
    environment = json.loads((run / "environment.json").read_text())
    origin = {"file": "/home/me/latest_net_G.pth", "sha256": "ab" * 32}
    (run / "environment.json").write_text(json.dumps({**environment, "imported": {"G": origin}}))
    text = card(run)
    assert f"G: imported from `latest_net_G.pth`, SHA-256 `{'ab' * 32}`" in section(text, "Provenance")
    assert "gesso train" not in section(text, "Training")
    assert "What it was trained on is not known here" in section(text, "Data")
    assert "The scores below" in text and "from another program" in text


def test_the_name_of_an_imported_file_is_no_markup(run: Path, card: Published) -> None:
    environment = json.loads((run / "environment.json").read_text())
    origin = {"file": "![x](http://at.home/y.png)<b>.pth", "sha256": "ab" * 32}
    (run / "environment.json").write_text(json.dumps({**environment, "imported": {"G": origin}}))
    assert "`y.png)<b>.pth`" in section(card(run), "Provenance")


def test_a_student_names_its_teacher_by_digest(pairs: Path, tmp_path: Path, card: Published) -> None:
    recipe = toy("pix2pix-distill", pairs)
    text = card(untrained(tmp_path / "run", recipe))
    assert f"taught by `pix2pix-distill`, SHA-256 of its weights `{recipe.taught.digest}`" in section(
        text, "Provenance"
    )
    assert "arXiv 2003.08941" in section(text, "Citation") and "arXiv 1611.07004" in section(text, "Citation")
    assert "whose mistakes it learnt too" in section(text, "Limits")


@pytest.mark.parametrize(
    ("model", "networks", "missing"),
    [("dcgan", "used", True), ("dcgan", "all", False), ("densenet", "used", False)],
)
def test_networks_that_are_missing_are_among_the_limits(
    model: str, networks: str, missing: bool, tmp_path: Path, card: Published
) -> None:
    """A classifier has none that only training needs."""
    text = card(untrained(tmp_path / "run", RECIPES[model](tmp_path), averaged=True), "--networks", networks)
    assert ("Networks that only training needs are not here" in section(text, "Limits")) == missing


@pytest.mark.parametrize("imported", [3, {"G": 3}])
def test_a_damaged_origin_is_no_origin(imported: object, run: Path, card: Published) -> None:
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, "imported": imported}))
    assert "imported" not in card(run)


def test_names_cannot_break_out_of_the_card(tmp_path: Path, card: Published) -> None:
    recipe = RECIPES["densenet"](tmp_path / "flowers")
    names = ("<script>", "a`b\n---\nlicense: mit")
    run = untrained(tmp_path / "run", dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, names=names)))
    text = card(run, "--name", "x\n---\n<b>", "--licence", "a\nb: c")
    assert "Classes: `<script>`, `a b --- license: mit`." in text and "<b>" not in text
    assert front(text)["license"] == "other" and text.count("\n---\n") == 1
    assert "\n# x --- &lt;b>\n" in text


def test_what_the_pictures_show_is_told_where_a_reader_begins_and_where_she_uses_it(run: Path, card: Published) -> None:
    text = card(run, "--about", "A: photos of\n façades,\tB: label maps")
    said = "A: photos of façades, B: label maps"
    assert front(text)["description"] == said
    (first,) = re.findall(r"\n# .*\n\n(.*)\n", text)
    assert first.startswith("A pix2pix that translates") and first.endswith(f". {said}.")
    assert f"gives pictures of the same size. {said}. With gesso" in section(text, "Use")


@pytest.mark.parametrize(("about", "shown"), [("Cats!", "Cats!"), ("Cats.", "Cats."), ("Cats", "Cats.")])
def test_what_the_pictures_show_ends_as_a_sentence(about: str, shown: str, run: Path, card: Published) -> None:
    assert f" {shown} With gesso" in card(run, "--about", about)


def test_what_the_pictures_show_cannot_break_out_of_the_card(run: Path, card: Published) -> None:
    words = "x\n---\nlicense: mit\n```\n# <b>\x1b[2J\x9b1m"
    text = card(run, "--about", words, "--no-sheet")
    assert front(text)["description"] == "x --- license: mit ``` # <b> [2J 1m"
    body = text.split("---\n", 2)[2]
    assert r" x --- license: mit \`\`\` # &lt;b> \[2J 1m. With gesso" in body and "<b>" not in body
    assert "license" not in front(text) and text.count("\n---\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


WORDS = ("--about", "--name", "--licence")


@pytest.mark.parametrize("flag", WORDS)
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a ![x](http://evil.example/y.png)", r"a !\[x\](http://evil.example/y.png)"),
        ("a *b* `c` ~~d~~ &lt;e", r"a \*b\* \`c\` \~\~d\~\~ \&lt;e"),
        ("cats & dogs", "cats & dogs"),
        ("- a", r"\- a"),
    ],
)
def test_an_authors_words_are_not_taken_for_markdown(
    flag: str, words: str, shown: str, run: Path, card: Published
) -> None:
    body = card(run, flag, words, "--no-sheet").split("---\n", 2)[2]
    assert shown in body
    assert shown == words or words not in body.replace(shown, "")


@pytest.mark.parametrize("flag", WORDS)
def test_an_authors_words_do_not_turn_or_hide(flag: str, run: Path, card: Published) -> None:
    """The family and the heart of emoji stay, and Persian words."""
    kept = "👩\u200d👧 ❤\ufe0f می\u200cشود"
    text = card(run, flag, f"{kept} a\u202eb\u2066c\u200bd\ufeff\u00ade\U000e0041")
    assert f"{kept} abcde" in text.split("---\n", 2)[2]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\ufeff\u00ad\U000e0000-\U000e007f]", text)


def test_a_licence_of_blanks_is_none(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    for name, licence in (("a", ""), ("b", " \t\u200b")):
        said = gesso("publish", run, "--to", tmp_path / name / "model", "--licence", licence)
        assert "no licence was given" in said.err[0]
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("name", ["../../etc", "a b", "x\ny: z", "a/b/c", "hub:me/x"])
def test_data_sets_have_names_as_on_the_hub(name: str, run: Path, tmp_path: Path, gesso: Gesso) -> None:
    said = gesso("publish", run, "--to", tmp_path / "x", "--dataset", "me/facades", name)
    refused(said, "--dataset .*: not a name on the hub; write OWNER/NAME")
    assert not (tmp_path / "x").exists()


def test_a_card_says_where_gesso_comes_from(run: Path, card: Published) -> None:
    (command,) = re.findall(r"installed from a checkout as its README says \(`(.*?)`\):", section(card(run), "Use"))
    assert command in (Path(__file__).parents[2] / "README.md").read_text()


def test_what_the_pictures_show_is_one_sentence(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    words = ["publish", run, "--to", tmp_path / "x", "--about"]
    refused(gesso(*words, "x" * 301), "--about: 301 characters, and it has 300 at most; .*README.md")
    assert not (tmp_path / "x").exists()
    assert gesso(*words, "x" * 300).code == 0


def test_without_words_on_what_the_pictures_show_nothing_is_made_up(run: Path, card: Published) -> None:
    text = card(run, "--about", " \n")
    assert "description" not in front(text)
    assert "gives pictures of the same size. With gesso" in section(text, "Use")


def test_publishing_changes_nothing_in_the_run(run: Path, card: Published) -> None:
    before = contents(run)
    card(run)
    assert contents(run) == before


def test_what_cannot_be_published_is_refused(run: Path, tmp_path: Path, gesso: Gesso) -> None:
    refused(gesso("publish", tmp_path / "nowhere", "--to", tmp_path / "x"), "there is no such run or checkpoint")
    refused(gesso("publish", run, "--to", tmp_path / "x", "--checkpoint", "7"), "no checkpoint 7; there are latest")
    refused(gesso("publish", run), "missing --to")
    refused(gesso("publish", run, "--to", tmp_path / "x", "--public"), "--public: .*is a folder")
    assert not (tmp_path / "x").exists()


def test_the_licences_are_names_in_small_letters() -> None:
    assert all(name == name.lower() and " " not in name for pair in LICENCES.items() for name in pair)
