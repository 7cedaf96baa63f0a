"""Recipes: what ships is what the paper says, and what is wrong in one ends in one line that says how to mend it."""

from __future__ import annotations

import json
import re
import socket
import tomllib
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs import list_files
from pipeline.intake import Intake
from pipeline.recipe import RECIPES, Policy, Recipe, RecipeError, find_recipe, load_recipe

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.toml"))
APERTUS = RECIPES / "apertus.toml"
EDUCATIONAL = {"fineweb-edu-score-2", "fineweb-edu", "dclm-edu"}
KINDS = {
    "web": EDUCATIONAL | {"fineweb", "fineweb-hq", "fineweb-2", "fineweb-2-hq", "clean-wikipedia"},
    "math": {"finemath-3plus", "infiwebmath-3plus", "megamath-web", "megamath-web-pro"},
    "code": {"starcoder", "stackv2-edu"},
    "books": {"gutenberg"},
}
TO_BE_CONVERTED = {"europarl", "paradocs", "euroblocks-sft", "flan", "poison-and-canaries"}
REVISIONS = {
    "fineweb": "v1.3.0",
    "fineweb-edu": "v1.0.0",
    "fineweb-edu-score-2": "v1.0.0",
    "fineweb-2": "v2.0.1",
}
PUBLISHED_THRESHOLDS = {
    "eng_Latn": 0.9994406,
    "cmn_Hani": 0.5954,
    "fra_Latn": 0.9994,
    "deu_Latn": 0.9977,
    "ita_Latn": 0.9985,
    "nld_Latn": 0.9883,
    "pol_Latn": 0.9867,
    "spa_Latn": 0.9953,
    "por_Latn": 0.9476,
}
MINIMAL = '[source.web]\npath = "pages"\nkind = "web"\n'


def written(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.toml"
    path.write_text(content, encoding="utf-8")
    return path


def named(content: str) -> str:
    return f'name = "mine"\n{content}'


def refusal(recipe: Path, *overrides: str) -> str:
    """The message of the `RecipeError`, which has to be one line."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def stages_of(recipe: Recipe, source: str) -> list[str]:
    return recipe.policy_for(source).stages


@pytest.fixture(scope="module")
def apertus() -> Recipe:
    return load_recipe("apertus")


@pytest.fixture(scope="module")
def whole_apertus(tmp_path_factory) -> Recipe:
    """apertus.toml with its commented tables switched on, as a reader would by taking the `# ` away."""
    lines = APERTUS.read_text(encoding="utf-8").splitlines()
    live = [re.sub(r"^# (?=\[|[A-Za-z_]+ = )", "", line) for line in lines]
    return load_recipe(written(tmp_path_factory.mktemp("whole"), "\n".join(live)))


# -- what ships


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_loads_by_name_and_without_the_network(name, monkeypatch):
    def no_network(*_):
        raise AssertionError("a recipe reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe == load_recipe(RECIPES / f"{name}.toml") == load_recipe(f"{name}.toml")
    assert all(stages_of(recipe, source) for source in recipe.source)


def test_apertus_has_the_sources_of_the_report_by_kind(apertus):
    found = {kind: {name for name, source in apertus.source.items() if source.kind == kind} for kind in KINDS}
    assert found == KINDS
    assert set(apertus.source) == set.union(*KINDS.values())


def test_apertus_keeps_the_sources_that_need_converting_ready_to_switch_on(whole_apertus):
    assert set(whole_apertus.source) == set.union(*KINDS.values()) | TO_BE_CONVERTED
    assert {whole_apertus.source[name].kind for name in TO_BE_CONVERTED} == {"parallel"}
    assert stages_of(whole_apertus, "europarl") == ["robots", "pii"]
    assert stages_of(whole_apertus, "poison-and-canaries") == []


def test_apertus_reads_data_sets_from_the_hub_and_pins_only_revisions_that_the_report_prints(apertus):
    for name, source in apertus.source.items():
        assert re.fullmatch(r"hf://datasets/[\w.-]+/[\w.-]+(/[\w?*.-]+)*", source.path), name
    assert {name: source.revision for name, source in apertus.source.items() if source.revision} == REVISIONS
    assert apertus.source["fineweb-2"].paths == [
        "hf://datasets/HuggingFaceFW/fineweb-2@v2.0.1/data/???_????/train/*.parquet"
    ]


def test_apertus_says_where_each_source_serves_and_that_a_missing_revision_is_to_be_checked(apertus):
    blocks = APERTUS.read_text(encoding="utf-8").split("\n\n")
    said = {match[1]: block for block in blocks if (match := re.search(r"^\[source\.([^.]+)\]$", block, re.MULTILINE))}
    assert said.keys() == apertus.source.keys()
    for name, block in said.items():
        comment = " ".join(line[2:] for line in block.splitlines() if line.startswith("# "))
        assert comment.startswith("Serves "), name
        to_be_checked = comment.partition("To be checked: ")[2]
        if name != "megamath-web-pro":  # says "as megamath-web"
            assert ("revision" in to_be_checked) == (apertus.source[name].revision is None), name


@pytest.mark.parametrize("kind", ["web", "math", "code", "books", "parallel"])
def test_apertus_applies_robots_to_every_kind_with_the_agents_of_the_paper(apertus, kind):
    robots = apertus.policy[kind].robots
    assert (robots.agents, robots.star, robots.unknown) == ("paper", "counts", "keep")


def test_apertus_skips_pii_on_math_and_code_and_toxicity_where_the_paper_does(apertus):
    stages = {name: stages_of(apertus, name) for name in apertus.source}
    everything = ["robots", "license", "language", "toxicity", "pii"]
    assert {name for name in stages if "toxicity" in stages[name]} == {
        "fineweb", "fineweb-hq", "fineweb-2", "fineweb-2-hq"
    }  # fmt: skip
    assert all(stages[name] == everything for name in stages if "toxicity" in stages[name])
    assert all(stages[name] == ["robots", "license", "language", "pii"] for name in EDUCATIONAL)
    assert all(stages[name] == ["robots", "license", "language"] for name in KINDS["math"])
    assert all(stages[name] == ["robots", "license"] for name in KINDS["code"])
    assert stages["gutenberg"] == ["robots", "language", "pii"]


def test_apertus_redacts_the_three_types_of_the_paper(apertus):
    for kind in ("web", "books", "parallel"):
        assert apertus.policy[kind].pii.types == ["EMAIL", "IP_ADDRESS", "IBAN"]


def test_apertus_takes_open_code_only_and_web_pages_unless_they_opt_out(apertus):
    policies = {name: apertus.policy_for(name).license for name in apertus.source}
    assert {name for name, license in policies.items() if license and license.policy == "open-only"} == {"stackv2-edu"}
    assert apertus.policy["code"].license.policy == "open-only"
    assert policies["starcoder"].policy == "opt-out"  # its rows name no licence
    assert policies["clean-wikipedia"].allow == ["CC-BY-SA"]
    assert policies["fineweb-2"].policy == policies["megamath-web"].policy == "opt-out"


def test_apertus_trusts_labels_that_are_iso_639_3_and_replaces_others(apertus):
    for name, source in apertus.source.items():
        language = apertus.policy_for(name).language
        if name == "clean-wikipedia":
            assert language.given == "replace"
        elif source.kind != "code":
            assert language.given == "trust"
            assert source.language == (None if name.startswith("fineweb-2") else "eng_Latn")
    assert apertus.output.partition == "language"


def test_apertus_has_the_published_thresholds_with_the_published_scorer_only(apertus, whole_apertus):
    assert apertus.policy["web"].toxicity.thresholds is None
    published = whole_apertus.policy["web"].toxicity
    assert published.thresholds == PUBLISHED_THRESHOLDS
    assert published.encoder == "FacebookAI/xlm-roberta-base"
    assert published.heads.endswith("/toxicity-heads")


def test_the_fineweb_2_pattern_takes_train_and_neither_test_nor_removed(apertus, tmp_path):
    for label in ("deu_Latn", "cmn_Hani", "deu_Latn_removed"):
        for split in ("train", "test"):
            file = tmp_path / "data" / label / split / "000_00000.parquet"
            file.parent.mkdir(parents=True)
            file.touch()
    source = apertus.source["fineweb-2"]
    pattern = source.path.removeprefix("hf://datasets/HuggingFaceFW/fineweb-2")
    local = source.model_copy(update={"path": str(tmp_path) + pattern, "revision": None})
    assert [file.name for file in list_files("fineweb-2", local)] == [
        "cmn_Hani/train/000_00000.parquet",
        "deu_Latn/train/000_00000.parquet",
    ]


def test_the_licences_of_a_common_pile_row_reach_its_document(apertus, tmp_path):
    row = {
        "id": "1",
        "text": "x = 1",
        "created": "2024-01-01",
        "metadata": {"detected_licenses": ["MIT", "Apache-2.0"]},
    }
    (tmp_path / "stack-edu-0001.json").write_text(json.dumps(row) + "\n", encoding="utf-8")
    source = apertus.source["stackv2-edu"].model_copy(update={"path": str(tmp_path / "stack-edu-0001.json")})
    [file] = list_files("stackv2-edu", source)
    [document] = Intake(file, Path(file.location), source).run()
    assert document.metadata["date"] == "2024-01-01"
    assert document.metadata["license"] == "MIT AND Apache-2.0"


def test_the_query_that_apertus_gives_makes_a_snapshot_of_the_published_robots_files(tmp_path, monkeypatch):
    from filters.robots import Reason, RobotsTxt, Snapshot, settle

    text = " ".join(line.removeprefix("#").strip() for line in APERTUS.read_text(encoding="utf-8").splitlines())
    query = re.search(r'duckdb -c "(COPY .+?)"', text)[1]
    published = {"domain": ["shop.example"], "content": ["User-agent: GPTBot\nDisallow: /\n"]}
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table(published), "fineweb_robots_compressed.parquet")
    with duckdb.connect() as connection:
        connection.execute(query)
    snapshot = Snapshot.load("robots.parquet")
    assert isinstance(settle(snapshot.lookup("shop.example")), RobotsTxt)
    assert settle(snapshot.lookup("other.example")) is Reason.HOST_UNKNOWN


@pytest.mark.parametrize(
    "kind",
    [
        "web",
        "math",
        "code",
        "books",
    ],
)
def test_apertus_lacks_nothing_but_a_snapshot(tmp_path, kind):
    from filters.toxicity import MODEL
    from pipeline.stages import build_stages

    if kind == "web" and not MODEL.exists():
        pytest.skip(f"the toxicity model is not built: {MODEL}")
    snapshot = tmp_path / "robots.parquet"
    pq.write_table(pa.table({"host": ["a.example"], "status": [404], "body": pa.array([None], pa.binary())}), snapshot)
    recipe = load_recipe("apertus", [f"policy.{kind}.robots.snapshot={snapshot}"])
    for name in KINDS[kind]:
        built = [stage.stage for stage in build_stages(recipe.source[name], recipe.policy_for(name))]
        assert built == stages_of(recipe, name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_snapshot_is_an_error_of_the_recipe_and_names_key_and_file(tmp_path, kind):
    from pipeline.curate import make_plan

    (tmp_path / "pages.jsonl").write_text('{"text": "a page"}\n', encoding="utf-8")
    content = MINIMAL.replace('"pages"', '"pages.jsonl"').replace('"web"', f'"{kind}"')
    recipe = load_recipe(written(tmp_path, named(f'{content}[policy.{kind}]\nrobots = {{ snapshot = "r.parquet" }}\n')))
    with pytest.raises(RecipeError, match=rf"^policy\.{kind}\.robots: .*r\.parquet"):
        make_plan(recipe)


# -- one line for whatever is wrong


@pytest.mark.parametrize(
    ("content", "key", "remedy"),
    [
        ('output = { shard_byts = "1 GB" }\n' + MINIMAL, "output.shard_byts", "did you mean `shard_bytes`?"),
        (MINIMAL + "[outptu]\n", "outptu", "did you mean `output`?"),
        (MINIMAL + 'columns = { txt = "content" }\n', "source.web.columns.txt", "did you mean `text`?"),
        (MINIMAL + "policy = { toxcity = false }\n", "source.web.policy.toxcity", "did you mean `toxicity`?"),
        (
            MINIMAL + 'policy = { robots = { snapshto = "r" } }\n',
            "source.web.policy.robots.snapshto",
            "did you mean `snapshot`?",
        ),
        (
            MINIMAL + '[policy.web.robots]\nsnapshot = "r"\nunkown = "keep"\n',
            "policy.web.robots.unkown",
            "did you mean `unknown`?",
        ),
        (
            MINIMAL + '[[policy.web.filters]]\nname = "a.B"\narg = {}\n',
            "policy.web.filters.0.arg",
            "did you mean `args`?",
        ),
        (MINIMAL + "[policy.web]\nxyzzy = {}\n", "policy.web.xyzzy", "known here: robots, license, language"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(tmp_path, content, key, remedy):
    recipe = written(tmp_path, named(content))
    message = refusal(recipe)
    assert message.startswith(f"{recipe}: {key}: ")
    assert remedy in message


@given(st.sampled_from(sorted(Policy.model_fields)), st.data())
def test_one_letter_too_many_in_a_stage_name_still_finds_it(tmp_path_factory, stage, data):
    place = data.draw(st.integers(0, len(stage)))
    typo = stage[:place] + data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz")) + stage[place:]
    recipe = written(tmp_path_factory.getbasetemp() / "typos", named(f"{MINIMAL}[policy.web]\n{typo} = {{}}\n"))
    assert f"policy.web.{typo}: unknown key; did you mean `{stage}`?" in refusal(recipe)


@pytest.mark.parametrize(
    ("content", "key", "says"),
    [
        (MINIMAL.replace('"pages"', "5"), "source.web.path", "string"),
        (MINIMAL.replace('"web"', '"wbe"'), "source.web.kind", "'web', 'code', 'math', 'books' or 'parallel'"),
        (MINIMAL + 'reader = "csv"\n', "source.web.reader", "'parquet', 'jsonl' or 'warc'"),
        (MINIMAL + 'language = "deu"\n', "source.web.language", "(found 'deu')"),
        (MINIMAL + 'max_document_bytes = "3 XB"\n', "source.web.max_document_bytes", "500 MB"),
        (MINIMAL + "max_document_bytes = 0\n", "source.web.max_document_bytes", "greater than 0"),
        (MINIMAL + "[output]\nrow_group_rows = 0\n", "output.row_group_rows", "greater than or equal to 1"),
        (MINIMAL + '[output]\npartition = "host"\n', "output.partition", "'none' or 'language'"),
        (MINIMAL + "[policy.web]\nrobots = true\n", "policy.web.robots", "(found True)"),
        (MINIMAL + '[policy.web]\nrobots = { snapshot = "r", star = "*" }\n', "policy.web.robots.star", "'ignore'"),
        (
            MINIMAL + '[policy.web.toxicity.thresholds]\ndeu_Latn = "high"\n',
            "policy.web.toxicity.thresholds.deu_Latn",
            "number",
        ),
        (MINIMAL.replace("source.web", "source.Web"), "source.Web", "should match pattern"),
        (MINIMAL + '[policy.webb]\nlicense = { policy = "opt-out" }\n', "policy.webb", "did you mean `web`?"),
        ("[source]\n", "source", "at least 1 item"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path, content, key, says):
    recipe = written(tmp_path, named(content))
    message = refusal(recipe)
    assert message.startswith(f"{recipe}: {key}")
    assert says in message


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (MINIMAL, "name"),
        (named('[source.web]\nkind = "web"\n'), "source.web.path"),
        (named('[source.web]\npath = "pages"\n'), "source.web.kind"),
        (named(MINIMAL + "[policy.web]\nrobots = {}\n"), "policy.web.robots.snapshot"),
    ],
)
def test_a_missing_value_is_named_and_can_be_given_on_the_command_line(tmp_path, content, key):
    recipe = written(tmp_path, content)
    assert refusal(recipe) == f"{recipe}: {key}: missing; add it to the recipe or give --set {key}=…"
    assert load_recipe(recipe, [f"{key}=web"]).source["web"].kind == "web"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("source.web.path", "write it as key=value"),
        ("=pages", "write it as key=value"),
        ("source..path=pages", "write it as key=value"),
        ("source.web.path.deeper=pages", "path is a value, not a table"),
        ("name.first=mine", "name is a value, not a table"),
    ],
)
def test_a_bad_set_is_quoted_with_how_to_write_it(tmp_path, override, says):
    message = refusal(written(tmp_path, named(MINIMAL)), override)
    assert message.startswith(f"--set {override}: ")
    assert says in message


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"name = \n", "not valid TOML"), (b"name = 'a'\nname = 'b'\n", "not valid TOML"), (b"\xff", "not UTF-8 text")],
)
def test_a_file_that_is_not_toml_is_named_with_the_place(tmp_path, content, says):
    recipe = tmp_path / "mine.toml"
    recipe.write_bytes(content)
    message = refusal(recipe)
    assert message.startswith(f"{recipe}: {says}")
    assert re.search(r"line \d+|byte \d+", message)


@given(st.text(max_size=60))
def test_no_file_content_ends_in_anything_but_a_recipe_or_its_error(tmp_path_factory, content):
    recipe = tmp_path_factory.getbasetemp() / "anything.toml"
    recipe.write_bytes((MINIMAL + content).encode("utf-8", "surrogatepass"))
    assert refusal(recipe)  # the name is missing at least


def test_an_unknown_recipe_is_answered_with_those_that_ship():
    with pytest.raises(RecipeError, match="no such recipe") as caught:
        find_recipe("apertos")
    assert ", ".join(SHIPPED) in str(caught.value)


# -- paths and overrides


def test_relative_paths_hang_on_the_recipe_and_those_of_set_on_the_working_folder(tmp_path, monkeypatch):
    content = named(
        '[source.web]\npath = ["a.parquet", "b/*.parquet", "/abs/c.parquet", "s3://bucket/d"]\nkind = "web"\n'
        '[policy.web]\nrobots = { snapshot = "robots.parquet" }\n'
        'toxicity = { encoder = "org/model", heads = "heads" }\n'
    )
    recipe = written(tmp_path / "recipes", content)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = load_recipe(Path("../recipes/mine.toml"))
    folder = str(tmp_path / "recipes")
    assert loaded.source["web"].path == [
        f"{folder}/a.parquet", f"{folder}/b/*.parquet", "/abs/c.parquet", "s3://bucket/d"
    ]  # fmt: skip
    assert loaded.policy["web"].robots.snapshot == f"{folder}/robots.parquet"
    assert loaded.policy["web"].toxicity.heads == f"{folder}/heads"
    assert loaded.policy["web"].toxicity.encoder == "org/model"
    given = load_recipe(
        recipe, ["policy.web.robots.snapshot=new.parquet", "source.web.path=['e', 'hf://datasets/f/g']"]
    )
    here = str(tmp_path / "elsewhere")
    assert given.policy["web"].robots.snapshot == f"{here}/new.parquet"
    assert given.source["web"].path == [f"{here}/e", "hf://datasets/f/g"]
    assert given.policy["web"].toxicity.heads == f"{folder}/heads"


def test_paths_of_a_sources_own_policy_hang_on_the_recipe_too(tmp_path):
    recipe = written(tmp_path, named(MINIMAL + 'policy = { robots = { snapshot = "r.parquet" } }\n'))
    assert load_recipe(recipe).policy_for("web").robots.snapshot == str(tmp_path / "r.parquet")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("output.shard_bytes=500 MB", 500_000_000),
        ("output.shard_bytes='1.5 GiB'", 1_610_612_736),
        ("output.shard_bytes=4096", 4096),
    ],
)
def test_set_takes_toml_or_plain_text_and_sizes_have_units(tmp_path, override, value):
    assert load_recipe(written(tmp_path, named(MINIMAL)), [override]).output.shard_bytes == value


def test_a_later_set_wins_and_false_switches_a_stage_off(tmp_path):
    recipe = written(tmp_path, named(MINIMAL + '[policy.web]\nlicense = { policy = "opt-out" }\npii = {}\n'))
    assert load_recipe(recipe, ["name=one", "name=two"]).name == "two"
    assert stages_of(load_recipe(recipe), "web") == ["license", "pii"]
    assert stages_of(load_recipe(recipe, ["policy.web.pii=false"]), "web") == ["license"]
    assert stages_of(load_recipe(recipe, ["source.web.policy.license=false"]), "web") == ["pii"]


def test_a_source_overrides_only_the_stages_that_it_names(tmp_path):
    content = MINIMAL + 'policy = { license = { policy = "open-only" } }\n'
    content += '[source.other]\npath = "x"\nkind = "web"\n[policy.web]\nlicense = { policy = "opt-out" }\npii = {}\n'
    recipe = load_recipe(written(tmp_path, named(content)))
    assert recipe.policy_for("web").license.policy == "open-only"
    assert recipe.policy_for("other").license.policy == "opt-out"
    assert stages_of(recipe, "web") == stages_of(recipe, "other") == ["license", "pii"]


@pytest.mark.parametrize(
    ("path", "pinned"),
    [
        ("hf://datasets/org/set", "hf://datasets/org/set@v1.3.0"),
        ("hf://datasets/org/set/data/*/*.parquet", "hf://datasets/org/set@v1.3.0/data/*/*.parquet"),
        ("hf://org/model/file.parquet", "hf://org/model@v1.3.0/file.parquet"),
        ("hf://spaces/org/space/data", "hf://spaces/org/space@v1.3.0/data"),
        ("s3://datasets/org/set", "s3://datasets/org/set"),
        ("/datasets/org/set", "/datasets/org/set"),
    ],
)
def test_the_revision_goes_where_the_hub_wants_it(tmp_path, path, pinned):
    recipe = written(tmp_path, named(f'[source.web]\npath = "{path}"\nrevision = "v1.3.0"\nkind = "web"\n'))
    assert load_recipe(recipe).source["web"].paths == [pinned]
    assert load_recipe(recipe, ["source.web.path=['hf://datasets/a/b/c']"]).source["web"].paths == [
        "hf://datasets/a/b@v1.3.0/c"
    ]


def test_a_path_that_is_pinned_already_keeps_its_pin(tmp_path):
    recipe = written(tmp_path, named(MINIMAL + 'revision = "v2"\n'))
    pinned = "hf://datasets/org/set@v1/data"
    assert load_recipe(recipe, [f"source.web.path={pinned}"]).source["web"].paths == [pinned]


@pytest.mark.parametrize("override", ["source.web.path=", "source.web.path=[]"])
def test_an_empty_path_is_refused(tmp_path, override):
    assert "source.web.path" in refusal(written(tmp_path, named(MINIMAL)), override)


@pytest.mark.parametrize("key", ["output.shard_bytes", "source.web.max_document_bytes", "output.row_group_rows"])
def test_true_is_no_number(tmp_path, key):
    assert key in refusal(written(tmp_path, named(MINIMAL)), f"{key}=true")


# -- the digest


def test_the_digest_is_the_same_wherever_recipe_and_inputs_lie(tmp_path):
    content = named(MINIMAL + '[policy.web]\nrobots = { snapshot = "r.parquet" }\npii = {}\n')
    first = load_recipe(written(tmp_path / "a", content))
    second = load_recipe(written(tmp_path / "b" / "c", "# a comment\n" + content))
    third = load_recipe(written(tmp_path / "a", content), ["source.web.path=['x', 'y']"])
    assert first.source["web"].path != second.source["web"].path
    assert first.digest == second.digest == third.digest
    assert re.fullmatch(r"[0-9a-f]{64}", first.digest)


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "source.web.revision=v2",
        "source.web.columns.text=content",
        "source.web.policy.pii=false",
        "policy.web.robots.unknown=exclude",
        "policy.web.toxicity.thresholds.deu_Latn=0.5",
        "output.partition=language",
        "source.more={path='x', kind='code'}",
    ],
)
def test_the_digest_changes_with_anything_else(tmp_path, override):
    recipe = written(tmp_path, named(MINIMAL + '[policy.web]\nrobots = { snapshot = "r" }\npii = {}\n'))
    assert load_recipe(recipe, [override]).digest != load_recipe(recipe).digest


@pytest.mark.parametrize("name", ["path", "model", "snapshot", "heads"])
def test_the_digest_covers_a_source_whatever_its_name(tmp_path, name):
    recipe = written(tmp_path, named(MINIMAL.replace("source.web", f"source.{name}")))
    assert load_recipe(recipe, [f"source.{name}.kind=code"]).digest != load_recipe(recipe).digest


def test_a_recipe_written_out_in_full_is_the_same_recipe(tmp_path):
    short = written(tmp_path / "short", named(MINIMAL))
    full = load_recipe(short).model_dump(mode="json", exclude_none=True)
    assert Recipe.model_validate(full).digest == load_recipe(short).digest
    assert tomllib.loads(short.read_text())["source"]["web"].keys() < full["source"]["web"].keys()
