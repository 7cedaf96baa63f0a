"""Documents published with a corpus: totals are the manifest's, what they cannot know is marked, tools read them."""

from __future__ import annotations

import io
import json
import shutil
import tomllib
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pytest
from huggingface_hub import DatasetCard

from manifests import eu_summary
from manifests.audit import audit
from manifests.card import card
from manifests.corpus import open_corpus
from manifests.croissant import COLUMNS, croissant
from manifests.eu_summary import GRADES, POINTS, SECTIONS, fields, markdown, score
from manifests.facts import Facts
from manifests.published import write_documents
from manifests.schema import SHARD, CorpusError
from tests.manifests.build import build, edit_json

ALL = ("eu", "croissant", "card")
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "corpus"
    build(folder, rows=400)
    return folder


@pytest.fixture(scope="module")
def facts(corpus: Path) -> Facts:
    return Facts(open_corpus(corpus))


def counted(corpus: Path, condition: str) -> int:
    counts = f"'{corpus}/manifests/v0001/counts.parquet'"
    [(number,)] = duckdb.sql(f"SELECT CAST(sum(rows) AS BIGINT) FROM {counts} WHERE {condition}").fetchall()
    return number


def everything(answers) -> dict:
    profile: dict[str, dict[str, str]] = {}
    for field in answers:
        if field.key:
            table, _, name = field.key.partition(".")
            profile.setdefault(table, {})[name] = f"said of {name}"
    return profile


# -- figures


def test_published_totals_are_sums_over_the_counts(corpus, facts):
    read = counted(corpus, "stage = 'intake'")
    gone = counted(corpus, "action = 'exclude'")
    kept = read - gone
    assert f"{read:,} documents read = {kept:,} kept + {gone:,} excluded" in markdown(facts, fields(facts))
    assert f"**{read:,}** documents read = **{kept:,}** kept + **{gone:,}** excluded" in card(facts)
    assert f"{kept:,} documents" in json.loads(croissant(facts))["description"]
    for reason in ("agent_disallowed", "restricted", "toxic"):
        number = counted(corpus, f"reason = '{reason}'")
        assert f"| `{reason}` | {number:,} |" in card(facts)


def test_facts_of_sources_add_up(facts):
    totals = facts.totals
    assert sum(source.read for source in facts.sources) == totals["rows"]
    assert sum(source.kept for source in facts.sources) == totals["kept"]
    assert sum(source.kept_bytes for source in facts.sources) == totals["text_bytes_kept"]
    assert sum(documents for _, documents, _ in facts.languages) == totals["kept"]
    assert {source.until for source in facts.sources} == {"2024-04-20"}


def test_subdomains_count_for_their_domain(facts):
    names = [name for name, _, _ in facts.domains]
    assert "example.org" in names
    assert "www.example.org" not in names
    assert [size for _, _, size in facts.domains] == sorted((size for _, _, size in facts.domains), reverse=True)


def test_a_copy_without_shards_gives_the_same_figures_but_for_dates(corpus, tmp_path):
    shutil.copytree(corpus / "manifests", tmp_path / "manifests")
    facts = Facts(open_corpus(tmp_path))
    assert {source.until for source in facts.sources} == {None}
    latest = next(field for field in fields(facts) if field.key == "model.latest_collection")
    assert not latest.answered
    assert card(facts) == card(Facts(open_corpus(corpus)))


# -- the EU summary


def test_every_section_of_the_template_is_there_and_unknown_fields_are_marked(facts):
    answers = fields(facts)
    text = markdown(facts, answers)
    for section, title in SECTIONS.items():
        assert f"### {section}. {title}" in text
        assert [field for field in answers if field.section == section]
    for field in answers:
        assert field.answered or f"provider: {eu_summary.plain(field.key)}" in text
    keys = [field.key for field in answers if field.key]
    assert len(keys) == len(set(keys))


def test_the_crawled_section_names_domains_period_and_amounts(facts):
    text = markdown(facts, fields(facts))
    crawled = text[text.index("### 2.3.") : text.index("### 2.4.")]
    assert "04/2024 to 04/2024" in crawled
    assert "| example.org |" in crawled
    reserved = text[text.index("### 3.1.") : text.index("### 3.2.")]
    assert "disallowed by name" in reserved
    assert facts.corpus.root in reserved


def test_a_profile_takes_the_marks_away(facts):
    answers = fields(facts, {"provider": {"name": "An Institute"}, "model": {"names": ["One 1.0", "One 1.1"]}})
    text = markdown(facts, answers)
    assert "| An Institute |" in text
    assert "| One 1.0, One 1.1 |" in text
    assert "provider.name" not in text
    whole = fields(facts, everything(fields(facts)))
    assert all(field.answered for field in whole)
    assert "To be added" not in markdown(facts, whole)


def test_the_form_asks_for_exactly_what_is_marked_and_comes_back_as_a_profile(facts):
    form = tomllib.loads(eu_summary.profile_form(fields(facts)))
    asked = {f"{table}.{name}" for table, names in form.items() for name in names}
    assert asked == {field.key for field in fields(facts) if not field.answered}
    filled = {table: dict.fromkeys(names, "x") for table, names in form.items()}
    assert all(field.answered for field in fields(facts, filled))
    assert fields(facts, form) == fields(facts)  # empty values say nothing


def test_the_score_grows_with_what_is_answered_and_is_full_at_the_end(facts):
    answers = fields(facts)
    start, grade, by_section = score(answers)
    whole, best, _ = score(fields(facts, everything(answers)))
    assert 0 < start < whole == pytest.approx(100)
    assert best == "A+"
    assert grade in {name for _, name in GRADES}
    assert set(by_section) == set(SECTIONS) == set(POINTS)
    no_crawl = [
        field if field.section != "2.3" else eu_summary.Field("2.3", field.label, None, field.key) for field in answers
    ]
    assert score(no_crawl)[0] < start - 20  # the section that cost the best-documented model its grade


def test_broken_profiles_are_not_answers(facts):
    for profile in ({"provider": "x"}, {"provider": {"name": ""}}, {"provider": {"name": None}}, {"provider": []}):
        assert not fields(facts, profile)[0].answered


def test_the_word_document_says_the_same_in_the_same_bytes_each_time(facts):
    answers = fields(facts)
    content = eu_summary.word(facts, answers)
    assert content == eu_summary.word(facts, answers)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        trees = {name: ElementTree.fromstring(archive.read(name)) for name in archive.namelist()}
    body = trees["word/document.xml"]
    texts = [text.text or "" for text in body.iter(f"{WORD}t")]
    for field in answers:
        assert field.label in texts
        assert (field.text or eu_summary.MARK.format(field.key)) in texts
    marked = sum(1 for _ in body.iter(f"{WORD}highlight"))
    assert marked == sum(not field.answered for field in answers) + 1


def test_the_list_of_domains_is_the_top_tenth_rounded_up(facts):
    lines = eu_summary.domain_list(facts).splitlines()
    assert lines[0] == "domain,documents,text_bytes"
    assert len(lines) - 1 == -(-len(facts.domains) // 10)


# -- Croissant and card


def test_croissant_describes_every_column_of_a_shard(facts):
    value = json.loads(croissant(facts, {"dataset": {"license": "https://example.org/l", "creator": "An Institute"}}))
    [records] = value["recordSet"]
    assert [field["name"] for field in records["field"]] == SHARD.names == list(COLUMNS)
    assert value["license"] == "https://example.org/l"
    assert {key for key in value if key.startswith("rai:")} >= {
        "rai:dataCollection",
        "rai:dataCollectionTimeframe",
        "rai:dataLimitations",
        "rai:personalSensitiveInformation",
        "rai:dataReleaseMaintenancePlan",
    }


def test_mlcroissant_takes_the_metadata(facts, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant", reason="pip install 'fairtrove[croissant]' to validate Croissant")
    path = tmp_path / "croissant.json"
    for profile in (
        None,
        {"dataset": {"license": "https://example.org/l", "cite_as": "us", "published": "2026-01-01"}},
    ):
        path.write_text(croissant(facts, profile), encoding="utf-8")
        dataset = mlcroissant.Dataset(path)
        assert not dataset.metadata.issues.errors
        assert dataset.metadata.data_limitations


def test_the_hub_reads_the_head_of_the_card(facts):
    data = DatasetCard(card(facts)).data.to_dict()
    assert data["configs"][0]["data_files"][0]["path"] == "shards/*.parquet"
    assert data["license"] == "other"
    assert set(data["language"]) == {label.split("_")[0] for label, _, _ in facts.languages}
    assert DatasetCard(card(facts, {"dataset": {"license": "odc-by"}})).data.license == "odc-by"


def test_a_corpus_partitioned_by_language_has_a_configuration_for_each(corpus, tmp_path):
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)

    def partition(run: dict) -> None:
        for shard, label in zip(run["shards"], ("deu_Latn", "rus_Cyrl") * len(run["shards"]), strict=False):
            shard["language"] = label

    edit_json(copy / "manifests/v0001/run.json", partition)
    configs = {entry["config_name"]: entry for entry in DatasetCard(card(Facts(open_corpus(copy)))).data.configs}
    assert set(configs) == {"default", "deu_Latn", "rus_Cyrl"}
    assert configs["deu_Latn"]["data_files"][0]["path"] == "shards/deu_Latn/*.parquet"
    assert configs["default"]["default"] is True


# -- writing


def test_documents_are_written_whole_and_are_the_same_each_time(corpus, tmp_path):
    written = write_documents(open_corpus(corpus), tmp_path, ALL)
    names = {path.name for path, _ in written}
    assert names == {
        "eu-summary.md",
        "eu-summary.docx",
        "eu-domains.csv",
        "eu-profile.toml",
        "croissant.json",
        "README.md",
    }
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_documents(open_corpus(corpus), tmp_path, ALL)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert set(first) == names


def test_names_that_strangers_chose_stay_text(tmp_path):
    hosts = ("<script>alert(1)</script>.example", "a|b.example", "[x](javascript:1).example", "a\u202eb.example")
    build(tmp_path, hosts=hosts, rows=120)
    edit_json(tmp_path / "manifests/v0001/run.json", lambda run: run["recipe"].update(name='"]\n---\n<b> | *x*'))
    facts = Facts(open_corpus(tmp_path))
    for text in (markdown(facts, fields(facts)), card(facts)):
        assert "<script>" not in text
        assert "\u202e" not in text
    assert DatasetCard(card(facts)).data.pretty_name == '"]\n---\n<b> | *x*'
    json.loads(croissant(facts))
    ElementTree.fromstring(zipfile.ZipFile(io.BytesIO(eu_summary.word(facts, fields(facts)))).read("word/document.xml"))


def test_a_broken_manifest_is_one_error_that_names_it(corpus, tmp_path):
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    (copy / "manifests/v0001/kept/web-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match="no document can be made"):
        write_documents(open_corpus(copy), tmp_path / "out", ALL)
    assert not (tmp_path / "out").exists()


def test_a_corpus_in_which_nothing_is_kept_has_documents_too(tmp_path):
    build(tmp_path, tasks={}, rows=0)
    written = write_documents(open_corpus(tmp_path), tmp_path / "out", ALL)
    assert len(written) >= 6


def test_the_audit_holds_published_documents_against_the_manifest(corpus, tmp_path):
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    write_documents(open_corpus(copy), copy / "report", ALL)
    [check] = [check for check in audit(open_corpus(copy)).checks if check.name == "published documents"]
    assert check.passed, check.detail
    kept = f"{open_corpus(copy).run['totals']['kept']:,}"
    for name, was, now in (
        ("README.md", kept, "1"),
        ("croissant.json", open_corpus(copy).root, "00" * 32),
        ("eu-summary.md", open_corpus(copy).root, "00" * 32),
    ):
        path = copy / "report" / name
        true = path.read_text(encoding="utf-8")
        path.write_text(true.replace(was, now), encoding="utf-8")
        failed = [check.detail for check in audit(open_corpus(copy)).checks if not check.passed]
        assert len(failed) == 1
        assert f"report/{name}" in failed[0]
        path.write_text(true, encoding="utf-8")
