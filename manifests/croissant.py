"""Croissant 1.0 metadata of a corpus with the RAI terms (MLCommons), as JSON-LD: checked by mlcroissant in the tests.

The shards are one file set, their columns one record set; what a reader of Croissant asks about responsible use (how
was it collected, what was done about personal data, what are the limits) is answered with the manifest's figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from manifests.facts import Facts
from manifests.schema import SHARD

CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The names of Croissant 1.0, as its specification gives them for every document."""

COLUMNS: Mapping[str, str] = {
    "text": "The document, personal data replaced by markers.",
    "id": "The identifier that its source gave it.",
    "dump": "The crawl that it comes from.",
    "url": "Where it was found.",
    "date": "When it was collected.",
    "source": "Name of the source in the recipe.",
    "kind": "What the source is: web, code, math, books or parallel.",
    "language": "ISO 639-3 code of its language.",
    "language_script": "ISO 15924 code of its script.",
    "language_score": "How sure the identification is, 0 to 1.",
    "license": "SPDX expression of the licence found; null says that none was.",
    "toxicity": "Score of its worst passage, 0 to 1.",
    "redactions": "Number of personal values replaced.",
    "redaction_spans": "Where and of which type, if the policy asks for it.",
}


def croissant(facts: Facts, profile: Mapping[str, Any] | None = None) -> str:
    """The JSON-LD document.

    Args:
        profile: table `dataset` may give `license`, `url`, `creator`, `cite_as` and `published`; nothing is made up.
    """
    given = (profile or {}).get("dataset")
    own: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    value: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": "".join(character if character.isalnum() else "-" for character in facts.name),
        "description": _description(facts),
        "version": f"{facts.corpus.version}.0.0",
        "keywords": ["pretraining", "robots.txt", "provenance", f"merkle-root:{facts.corpus.root}"],
        "inLanguage": [label for label, _, _ in facts.languages],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "corpus",
                "name": "corpus",
                "description": "The folder of the corpus. Its digest is the Merkle root (RFC 9162) over its rows.",
                "contentUrl": str(own.get("url") or "."),
                "encodingFormat": "application/x-directory",
                "sha256": facts.corpus.root,
            },
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "description": f"{len(facts.corpus.shards):,} Parquet files; the manifest vouches for each.",
                "containedIn": {"@id": "corpus"},
                "encodingFormat": "application/x-parquet",
                "includes": "shards/**/*.parquet",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "documents",
                "name": "documents",
                "description": "One record per kept document.",
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"documents/{column.name}",
                        "name": column.name,
                        "description": COLUMNS[column.name],
                        "dataType": _type(column.type),
                        "source": {"fileSet": {"@id": "shards"}, "extract": {"column": column.name}},
                    }
                    for column in SHARD
                ],
            }
        ],
        **_responsible(facts),
    }
    for name, key in (("license", "license"), ("url", "url"), ("citeAs", "cite_as"), ("datePublished", "published")):
        if own.get(key):
            value[name] = own[key]
    if own.get("creator"):
        value["creator"] = {"@type": "sc:Organization", "name": own["creator"]}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _description(facts: Facts) -> str:
    totals = facts.totals
    return (
        f"{totals['kept']:,} documents ({totals['text_bytes_kept']:,} bytes of text) in {len(facts.languages):,} "
        f"languages, kept of {totals['rows']:,} read. Every exclusion is on record with its reason and evidence."
    )


def _responsible(facts: Facts) -> dict[str, Any]:
    totals = facts.totals
    stages: dict[str, int] = {}
    for stage, _, rows, _ in facts.exclusions:
        stages[stage] = stages.get(stage, 0) + rows
    consent = facts.consent
    unknown = sum(consent.get(reason, 0) for reason in ("host_unknown", "fetch_error", "parse_error", "no_url"))
    days = [day for source in facts.sources for day in (source.since, source.until) if day]
    value: dict[str, Any] = {
        "rai:dataCollection": "; ".join(
            f"{source.name} ({source.kind}): {source.read:,} documents read, {source.kept:,} kept"
            + (f", from {', '.join(source.dumps)}" if source.dumps else "")
            for source in facts.sources
        ),
        "rai:dataCollectionType": sorted({_collected(source.kind) for source in facts.sources}),
        "rai:dataPreprocessingProtocol": [f"{stage}: {rows:,} documents excluded" for stage, rows in stages.items()]
        + [f"{totals['altered']:,} alterations of texts, personal data replaced by markers"],
        "rai:personalSensitiveInformation": [
            f"{kind}: {number:,} values replaced in {documents:,} documents"
            for kind, number, documents in facts.redactions
        ]
        or ["No personal value was found and replaced."],
        "rai:dataLimitations": [
            f"Of {sum(consent.values()):,} documents asked about, {unknown:,} are of sites whose wishes could not be "
            "read; they are counted as unknown consent.",
            "A licence of null says that no mark was found, not that the text is free.",
            "Language, toxicity and personal data are found by classifiers and rules that err; see the report.",
        ],
        "rai:dataReleaseMaintenancePlan": "Versions are numbered; a withdrawal publishes the next one with tombstones, "
        f"and each version has its own Merkle root (this one: {facts.corpus.root}).",
    }
    if days:
        value["rai:dataCollectionTimeframe"] = [f"{min(days)}T00:00:00", f"{max(days)}T00:00:00"]
    return value


def _collected(kind: str) -> str:
    return "Web Scraping" if kind in ("web", "parallel") else "Secondary Data analysis"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
