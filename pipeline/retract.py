"""Retraction: what owners say now, applied to a corpus that is already published, without curating it again.

A newer robots.txt snapshot is asked about every document of the tasks whose hosts say something else than before: the
published ones by the URLs in the shards, the excluded ones by host and path in the decisions. Documents that may not
be used any more leave the shards, which are written again without them; everything that follows for counts, decisions
and roots is in `manifests.amend`. The next version has the Merkle root that a full re-run under the new snapshot would
have, at a fraction of its cost (1,000 changed hosts of 100,000: see `retract` in `tests/bench/LOG.md`).

One thing a re-run can do and this cannot: a document that its owner allows again is not restored, since its text was
not kept. Such documents are listed in the version's `returned.parquet`, and their tasks are marked, so that the next
`fairtrove curate` runs exactly these again.

What a page said itself, in headers or meta elements, is only on record where it was a reason to exclude, and that
exclusion stands. Where a page's statement can overrule its site's (TDMRep), a new reservation of the site withdraws the
document all the same, in doubt for the owner; the task is marked, and the next `fairtrove curate` reads the page again.

Like a run, a retraction may die at any moment: the new version is its `run.json`, written last, and the shards of the
version before are removed after that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.decision import Action, Decision, Evidence
from filters.robots import Robots, agent_list
from filters.signals import TDMReservation
from filters.takedown import TakedownList, open_takedown
from manifests import trail
from manifests.amend import Amended, Answer, amend
from manifests.corpus import Corpus, open_corpus, verify_file
from manifests.files import file_sha256
from manifests.ledger import EVIDENCE_LEAF
from manifests.publish import TABLES, adopt_task, publish_task, publish_version, published_shards, sweep
from manifests.schema import FORMAT, RETURNED, TOMBSTONES, Reason, Stage, restore_host, reverse_host
from pipeline.addresses import locate
from pipeline.folder import RunError, clean_version, locked
from pipeline.recipe import RecipeError
from pipeline.reconsider import authority, decisions_about, kept_urls, said_by_page, url_of
from pipeline.shards import rewrite_shard
from pipeline.version import code_version


@dataclass
class Retraction:
    """What a retraction did, or would do.

    Attributes:
        corpus: the newest published version afterwards.
        published: True when it is a new one.
        tombstones: withdrawn documents (`manifests.schema.TOMBSTONES`).
        returned: documents that are allowed again, but not restored (`manifests.schema.RETURNED`).
        agents: withdrawn documents by barred agent.
        rewritten: shards written again, or dropped because nothing is left in them.
        tasks: tasks whose documents were decided again.
    """

    corpus: Corpus
    published: bool = False
    tombstones: pa.Table = field(default_factory=TOMBSTONES.empty_table)
    returned: pa.Table = field(default_factory=RETURNED.empty_table)
    agents: dict[str, int] = field(default_factory=dict)
    rewritten: int = 0
    tasks: int = 0

    @property
    def documents(self) -> int:
        """Number of withdrawn documents."""
        return len(self.tombstones)

    @property
    def text_bytes(self) -> int:
        """Bytes of published text withdrawn."""
        return sum(self.tombstones.column("text_bytes").to_pylist())

    def hosts(self) -> list[tuple[str, int, int]]:
        """Reversed host, documents and bytes withdrawn, the most documents first."""
        found: dict[str, list[int]] = {}
        columns = (self.tombstones.column(name).to_pylist() for name in ("rhost", "text_bytes"))
        for rhost, size in zip(*columns, strict=True):
            cell = found.setdefault(rhost or "", [0, 0])
            cell[0] += 1
            cell[1] += size
        return sorted(((rhost, cell[0], cell[1]) for rhost, cell in found.items()), key=lambda row: (-row[1], row[0]))


def retract(
    path: Path,
    robots: Path | None = None,
    takedown: Path | None = None,
    agents: str | None = None,
    dry_run: bool = False,
    keep_old: bool = False,
    was: Path | None = None,
) -> Retraction:
    """Withdraw from the corpus at `path` what may not be used any more, and publish the next version.

    Args:
        robots: newer snapshot; decides under the policy that the corpus records for each source.
        takedown: list of removal requests (`filters.takedown`), which replaces the one of the corpus. A source whose
            policy consults no robots.txt loses its documents at intake.
        agents: other agents than the recorded ones: a list of `agents.toml` by name, or tokens with commas.
        dry_run: only find out; writes nothing.
        keep_old: leave the shards that are replaced.
        was: the snapshot that the corpus was decided under. With it, or with a file of its recorded name and digest
            beside the newer one, only hosts that the two tell differently about are decided again.

    Raises:
        RecipeError: what was given cannot be used.
        RunError: the corpus cannot be amended, or another run holds it.
        CorpusError: a file is not the one that the manifest vouches for.
    """
    if robots is None and takedown is None:
        raise RecipeError("nothing to decide by: give --robots SNAPSHOT.parquet, and --takedown FILE if there is one")
    if agents is not None and robots is None:
        raise RecipeError("--agents needs --robots: what agents may do is read from a snapshot")
    corpus = open_corpus(path)
    if dry_run:
        return _Retractor(corpus, robots, takedown, agents, was).find()
    with locked(corpus.path):
        corpus = open_corpus(path)  # as it is now that nobody else changes it
        return _Retractor(corpus, robots, takedown, agents, was).publish(keep_old)


@dataclass(frozen=True)
class _Consent:
    """The consent stage of one source under the new evidence.

    Attributes:
        changed: what tells the new policy from the recorded one, None when it is the same.
        before: the stage under the recorded evidence, None when its files are not at hand.
    """

    stage: Robots
    changed: str | None
    before: Robots | None


@dataclass
class _Finding:
    """A task under the new evidence.

    Attributes:
        changes: keys of its record that change in any case: evidence digests, fingerprint.
        answers: documents that get another answer, by row of the file.
        returned: rows of `RETURNED` without the task.
        tables: its tables by name, loaded when a document had to be decided.
    """

    record: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    returned: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, pa.Table] = field(default_factory=dict)


class _Retractor:
    """One retraction of one corpus."""

    def __init__(
        self, corpus: Corpus, robots: Path | None, takedown: Path | None, agents: str | None, was: Path | None
    ):
        if corpus.run["format"] != FORMAT:
            raise RunError(
                f"{corpus.path}: its records are of format {corpus.run['format']}, retraction needs {FORMAT}: "
                "curate it again"
            )
        self.corpus = corpus
        self.robots = robots
        self.takedown = takedown
        self.requests = _requests(takedown) if takedown else None
        self.agents = agents
        self.was = was
        self.policies: dict[str, dict[str, Any]] = json.loads(json.dumps(corpus.run["recipe"].get("policy", {})))
        self.consents = self._consents()

    # -- finding out

    def find(self) -> Retraction:
        """What would go."""
        result = Retraction(self.corpus)
        tombstones, returned = [], []
        for record in self.corpus.tasks:
            finding = self._find(record)
            returned.append(_returned(finding))
            if finding.tables:
                result.tasks += 1
            kept = finding.tables.get("kept")
            if kept is None or not finding.answers:
                continue
            gone = {row: answer for row, answer in finding.answers.items() if answer.decision.action == Action.EXCLUDE}
            withdrawn = kept.filter(pa.array(np.isin(kept.column("file_row").to_numpy(), list(gone) or [-1])))
            exclusions = {row: (str(answer.decision.reason), None) for row, answer in gone.items()}
            tombstones.append(_tombstones(record["name"], withdrawn, exclusions))
            _count_agents(result.agents, withdrawn, gone)
            result.rewritten += len(set(withdrawn.column("shard").to_pylist()))
        result.tombstones = pa.concat_tables([TOMBSTONES.empty_table(), *tombstones])
        result.returned = pa.concat_tables([RETURNED.empty_table(), *returned])
        return result

    def _find(self, record: dict[str, Any]) -> _Finding:
        finding = _Finding(record)
        consent = self.consents.get(record["source"])
        if consent is not None and consent.stage.stage in record["stages"]:
            self._reconsider(finding, consent)
        elif self.requests is not None:
            self._take_down(finding, self.requests)
        return finding

    def _reconsider(self, finding: _Finding, consent: _Consent) -> None:
        record, stage = finding.record, consent.stage
        rhosts = self._rhosts(record["name"])
        touched: Mapping[str, bool] | None = None  # None: every host may be
        if consent.before is not None and not consent.changed and not record.get("unrestored"):
            differing = stage.differing(consent.before, map(restore_host, rhosts))
            touched = {reverse_host(*where): more for where, more in differing.items()}
            if not touched:
                return
        digest = stage.evidence_digest(map(restore_host, rhosts))
        same = record["evidence"].get(stage.stage) == digest
        if not same:
            finding.changes["evidence"] = {**record["evidence"], stage.stage: digest}
        if consent.changed:
            finding.changes["fingerprint"] = sha256(f"{record['fingerprint']}\0{consent.changed}".encode()).hexdigest()
        elif same:
            return
        self._load(finding)
        self._decide_kept(finding, stage, touched)
        self._decide_excluded(finding, stage, touched)
        unrestored = len(finding.returned)
        if ".warc" in record["input"]["name"]:  # the other readers meet no page's own statement
            unrestored += sum(_page_may_overrule(answer) for answer in finding.answers.values())
            unrestored = max(unrestored, record.get("unrestored") or 0)
        if unrestored or record.get("unrestored"):
            finding.changes["unrestored"] = unrestored

    def _decide_kept(self, finding: _Finding, stage: Robots, touched: Mapping[str, bool] | None) -> None:
        kept = finding.tables["kept"]
        at = finding.record["stages"].index(stage.stage)
        asked = kept.column("rhost").is_valid()
        if touched is not None:  # a document that stays is not concerned by another date of the same statement
            asked = pc.is_in(
                kept.column("rhost"), pa.array([rhost for rhost, more in touched.items() if more], pa.string())
            )
        hosted = np.flatnonzero(asked.to_numpy())
        if not len(hosted):
            return
        urls = kept_urls(self.corpus, kept, hosted)
        chosen = kept.select(["file_row", "trail"]).take(pa.array(hosted))
        rows, trails = chosen.column("file_row").to_pylist(), chosen.column("trail").to_pylist()
        for row, passed, url, decision in zip(rows, trails, urls, decisions_about(stage, urls), strict=True):
            if decision.kept and str(decision.reason) == trail.steps(passed)[at][0]:
                continue
            finding.answers[row] = Answer(stage.stage, decision, locate(url)[1])

    def _decide_excluded(self, finding: _Finding, stage: Robots, touched: Mapping[str, bool] | None) -> None:
        at = finding.record["stages"].index(stage.stage)
        columns = ["key", "file_row", "rhost", "path", "action", "reason", "evidence_id", "trail"]
        decisions = finding.tables["decisions"].select(columns)
        asked = pc.and_(pc.equal(decisions.column("action"), "exclude"), decisions.column("rhost").is_valid())
        if touched is not None:
            asked = pc.and_(asked, pc.is_in(decisions.column("rhost"), pa.array(list(touched), pa.string())))
        ended = [row for row in decisions.filter(asked).to_pylist() if len(trail.steps(row["trail"])) > at]
        evidence = finding.tables["evidence"]
        if touched is not None:
            cited = pa.array({row["evidence_id"] for row in ended}, pa.int64())
            evidence = evidence.filter(pc.is_in(evidence.column("evidence_id"), cited))
        pieces = {row["evidence_id"]: row for row in evidence.to_pylist()}
        decided = decisions_about(stage, [url_of(row["rhost"], row["path"]) for row in ended])
        for row, decision in zip(ended, decided, strict=True):
            passed = trail.steps(row["trail"])
            if len(passed) - 1 > at:  # a later stage excluded it
                same = decision.kept and str(decision.reason) == passed[at][0]
            elif decision.kept:
                if said_by_page(pieces.get(row["evidence_id"])):
                    continue
                finding.returned.append({name: row[name] for name in ("key", "file_row", "rhost", "path")})
                continue
            else:
                same = str(decision.reason) == row["reason"] and _same_piece(
                    stage.stage, decision.evidence, pieces.get(row["evidence_id"])
                )
            if not same:
                finding.answers[row["file_row"]] = Answer(stage.stage, decision, row["path"])

    def _take_down(self, finding: _Finding, requests: TakedownList) -> None:
        """Removal requests for a source without consent stage: intake, which every document meets, refuses them."""
        name = finding.record["name"]
        about = {
            rhost: lines
            for rhost in self._rhosts(name, ("kept",))
            if (lines := requests.about(*restore_host(rhost))) is not None
        }
        if not about:
            return
        self._load(finding)
        kept = finding.tables["kept"]
        rhosts = kept.column("rhost").to_pylist()
        places = np.array([place for place, rhost in enumerate(rhosts) if rhost in about], np.int64)
        rows = kept.column("file_row").to_numpy()
        for place, url in zip(places, kept_urls(self.corpus, kept, places), strict=True):
            lines = about[rhosts[place]]
            line = lines.covering(url or url_of(rhosts[place], None))
            if line is not None:
                detector = f"takedown-list@{lines.digest[:12]}"
                piece = Evidence(
                    "takedown", host=authority(rhosts[place]), line=line.number, rule=line.text[:200], detector=detector
                )
                decision = Decision(Action.EXCLUDE, Reason.TAKEDOWN, piece)
                finding.answers[int(rows[place])] = Answer(str(Stage.INTAKE), decision, locate(url)[1])

    # -- publishing

    def publish(self, keep_old: bool) -> Retraction:
        """Publish the next version; nothing when it would say what the published one says."""
        out, parent = self.corpus.path, self.corpus.version
        version = parent + 1
        clean_version(out, version, [])
        staging = out / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        result = Retraction(self.corpus)
        tombstones, returned = [TOMBSTONES.empty_table()], [RETURNED.empty_table()]
        changed = False
        for record in self.corpus.tasks:
            finding = self._find(record)
            result.tasks += bool(finding.tables)
            returned.append(_returned(finding))
            if not finding.answers:
                adopt_task(out, parent, version, record["name"], finding.changes)
                changed |= any(record.get(key) != value for key, value in finding.changes.items())
                continue
            changed = True
            tables = finding.tables
            amended = amend(record, tables["decisions"], tables["evidence"], tables["kept"], finding.answers)
            result.rewritten += self._publish_task(finding, amended, version, staging / record["name"])
            tombstones.append(_tombstones(record["name"], amended.withdrawn, amended.exclusions))
            _count_agents(result.agents, amended.withdrawn, finding.answers)
        shutil.rmtree(staging, ignore_errors=True)
        result.tombstones, result.returned = pa.concat_tables(tombstones), pa.concat_tables(returned)
        description = self._description(result)
        if not changed and all(self.corpus.run.get(key) == description[key] for key in ("recipe", "pins")):
            clean_version(out, version, [])
            return result
        names = [task["name"] for task in self.corpus.run["tasks"]]
        more = {"tombstones": result.tombstones, "returned": result.returned}
        kept = {"keeps_parent": True} if keep_old else {}
        publish_version(out, version, parent, names, description | kept, more)
        sweep(out, published_shards(out))
        result.corpus, result.published = open_corpus(out), True
        return result

    def _publish_task(self, finding: _Finding, amended: Amended, version: int, staging: Path) -> int:
        """Write the task's affected shards again and publish it; returns their number."""
        record = finding.record
        staging.mkdir(parents=True)
        removed: dict[str, dict[int, int]] = {}
        columns = (amended.withdrawn.column(name).to_pylist() for name in ("shard", "shard_row", "text_bytes"))
        for shard, row, size in zip(*columns, strict=True):
            removed.setdefault(shard, {})[row] = size
        shards: list[dict[str, Any]] = []
        staged: dict[Path, str] = {}
        names: dict[str, str] = {}
        for shard in record["shards"]:
            if shard["name"] not in removed:
                shards.append(shard)
                continue
            written = rewrite_shard(shard, self.corpus.path, record["name"], removed[shard["name"]], staging)
            if written is not None:
                description, temporary = written
                shards.append(description)
                staged[temporary] = description["name"]
                names[shard["name"]] = description["name"]
        shards.sort(key=lambda shard: shard["name"])
        account = replace(amended.account, kept=_moved(amended.account.kept, names, removed))
        keep = {name: value for name, value in record.items() if name not in _COMPUTED}
        publish_task(self.corpus.path, version, account, shards, staged, staging, {**keep, **finding.changes})
        return len(removed)

    def _description(self, result: Retraction) -> dict[str, Any]:
        """What `run.json` says of the version: as its parent, with the new pins and what was withdrawn."""
        run = self.corpus.run
        pins = dict(run["pins"])
        for source, consent in self.consents.items():
            found = consent.stage.pins()
            pins |= {f"{source}.{consent.stage.stage}.{name}": digest for name, digest in found.items()}
        retraction: dict[str, Any] = {
            "code": code_version(),
            "documents": result.documents,
            "text_bytes": result.text_bytes,
            "returned": len(result.returned),
        }
        if self.robots is not None:
            retraction["robots"] = {"name": self.robots.name, "sha256": file_sha256(self.robots)}
        if self.takedown is not None:
            retraction["takedown"] = {"name": self.takedown.name, "sha256": file_sha256(self.takedown)}
        if self.agents is not None:
            retraction["agents"] = self.agents
        kept: dict[str, Any] = {key: run[key] for key in ("code", "failed") if key in run}
        return {**kept, "recipe": {**run["recipe"], "policy": self.policies}, "pins": pins, "retraction": retraction}

    # -- evidence and tables

    def _consents(self) -> dict[str, _Consent]:
        """The consent stage of each source that has one, under the recorded policy and the new evidence."""
        run = self.corpus.manifest / "run.json"
        sources = {task["source"] for task in self.corpus.run["tasks"]}
        found: dict[str, _Consent] = {}
        for source, policy in self.policies.items():
            recorded = policy.get("robots")
            if not recorded or source not in sources:
                continue
            if self.robots is None:
                raise RecipeError(
                    f"source {source} consults robots.txt: give --robots as well, the newest snapshot there is"
                )
            if recorded.get("takedown") and self.takedown is None:
                raise RecipeError(
                    f"source {source} was curated with the takedown list {recorded['takedown']}: give --takedown, that "
                    "list or a longer one"
                )
            wanted = recorded | {"snapshot": str(self.robots)}
            if self.takedown is not None:
                wanted["takedown"] = str(self.takedown)
            before = _consent_stage(wanted, run)
            if self.agents is not None:
                wanted["agents"] = _agents(self.agents)
            stage = _consent_stage(wanted, run)
            fingerprint = json.dumps(stage.fingerprint(), sort_keys=True)
            recorded_stage = self._recorded(source, recorded, stage)
            named = {key: Path(wanted[key]).name for key in ("snapshot", "takedown") if wanted.get(key)}
            policy["robots"] = wanted | named
            changed = fingerprint if stage.fingerprint() != before.fingerprint() else None
            found[source] = _Consent(stage, changed, recorded_stage)
        if not found and self.takedown is None:
            raise RunError(f"{run}: no source of this corpus consults robots.txt; only --takedown concerns it")
        return found

    def _recorded(self, source: str, recorded: Mapping[str, Any], stage: Robots) -> Robots | None:
        """The stage under the evidence that the corpus rests on, if that is at hand: its files are known by digest."""
        files: dict[str, Path | None] = {"takedown": None}
        for name in ("snapshot", "takedown"):
            digest = self.corpus.run["pins"].get(f"{source}.{stage.stage}.{name}_sha256")
            if digest:
                files[name] = self._pinned(recorded.get(name), digest, name == "snapshot")
                if files[name] is None:
                    return None
        if "snapshot" not in files:
            return None
        policy: dict[str, Any] = dict(recorded) | files
        return Robots(**policy)

    def _pinned(self, name: Any, digest: str, is_snapshot: bool) -> Path | None:
        """The file with this digest: the one given with --was, or of the recorded name beside the newer one."""
        beside = self.robots if is_snapshot else self.takedown
        candidates = [self.was] if is_snapshot and self.was else []
        candidates += [folder.parent / Path(str(name)).name for folder in (beside, self.robots) if folder and name]
        for path in candidates:
            if path.is_file() and file_sha256(path) == digest:
                return path
        if is_snapshot and self.was:
            raise RecipeError(
                f"--was {self.was}: not the snapshot that the corpus was decided under, whose SHA-256 is {digest}; "
                "leave it out, at the price of deciding about more hosts"
            )
        return None

    def _load(self, finding: _Finding) -> None:
        """Read and verify the tables of a task, once."""
        if finding.tables:
            return
        for name in TABLES:
            path = self._table(finding.record["name"], name)
            verify_file(path, finding.record["tables"][name]["sha256"])
            finding.tables[name] = pq.read_table(path, partitioning=None)

    def _table(self, task: str, name: str) -> Path:
        return self.corpus.manifest / name / f"{task}.parquet"

    def _rhosts(self, task: str, names: Sequence[str] = ("kept", "decisions")) -> set[str]:
        found: set[str] = set()
        for name in names:
            column = pq.read_table(self._table(task, name), columns=["rhost"], partitioning=None).column("rhost")
            found |= set(column.unique().to_pylist())
        return {rhost for rhost in found if rhost}


_COMPUTED = ("format", "rows", "kept", "excluded", "counts", "tables", "shards", "roots")
"""Keys of a task's record that `publish_task` writes."""


def _consent_stage(policy: Mapping[str, Any], run: Path) -> Robots:
    try:
        stage = Robots(**policy)
        stage.pins()  # reads the files, so that what is wrong with them shows before any work
        return stage
    except TypeError as error:
        raise RunError(
            f"{run}: the recorded robots policy is not one of this version ({error}); curate again"
        ) from error
    except (ValueError, OSError) as error:
        raise RecipeError(str(error)) from error


def _page_may_overrule(answer: Answer) -> bool:
    """Whether a page's own statement, which is not on record, might have kept a document that its site now reserves."""
    piece = answer.decision.evidence
    return piece is not None and piece.protocol == TDMReservation.protocol


def _requests(path: Path) -> TakedownList:
    try:
        return open_takedown(path)
    except (ValueError, OSError) as error:
        raise RecipeError(str(error)) from error


def _agents(given: str) -> str | list[str]:
    """A list's name as it is, tokens as a list."""
    try:
        agent_list(given)
        return given
    except ValueError as error:
        tokens = [token.strip() for token in given.split(",") if token.strip()]
        if not tokens or (len(tokens) == 1 and given.islower()):
            raise RecipeError(f"--agents {given}: {error}; or give tokens, like GPTBot,CCBot") from error
        return tokens


def _same_piece(stage: str, piece: Evidence | None, row: Mapping[str, Any] | None) -> bool:
    if piece is None or row is None:
        return piece is row
    return all((stage if name == "stage" else getattr(piece, name)) == row[name] for name in EVIDENCE_LEAF)


def _moved(kept: pa.Table, names: Mapping[str, str], removed: Mapping[str, Mapping[int, int]]) -> pa.Table:
    """The table with its rows' places in the shards that were written again."""
    if not names:
        return kept
    shards = kept.column("shard").combine_chunks().dictionary_encode()
    codes = shards.indices.to_numpy(zero_copy_only=False)
    rows = kept.column("shard_row").to_numpy().copy()
    listed = shards.dictionary.to_pylist()
    for code, name in enumerate(listed):
        if name in names:
            within = codes == code
            rows[within] -= np.searchsorted(np.array(sorted(removed[name])), rows[within]).astype(rows.dtype)
    renamed = pa.array([names.get(name, name) for name in listed], pa.string()).take(shards.indices)
    schema = kept.schema
    kept = kept.set_column(schema.get_field_index("shard"), schema.field("shard"), renamed)
    return kept.set_column(schema.get_field_index("shard_row"), schema.field("shard_row"), pa.array(rows, pa.int32()))


def _tombstones(task: str, withdrawn: pa.Table, exclusions: Mapping[int, tuple[str, int | None]]) -> pa.Table:
    rows = withdrawn.select(["key", "file_row", "rhost", "shard", "shard_row", "text_bytes"]).to_pylist()
    for row in rows:
        reason, identifier = exclusions[row["file_row"]]
        row |= {"task": task, "reason": reason, "evidence_id": identifier}
    return pa.Table.from_pylist(rows, schema=TOMBSTONES)


def _returned(finding: _Finding) -> pa.Table:
    rows = [{**row, "task": finding.record["name"]} for row in finding.returned]
    return pa.Table.from_pylist(rows, schema=RETURNED)


def _count_agents(agents: dict[str, int], withdrawn: pa.Table, answers: Mapping[int, Answer]) -> None:
    for file_row in withdrawn.column("file_row").to_pylist():
        piece = answers[file_row].decision.evidence
        for agent in (piece.agents or "").split(",") if piece else ():
            if agent:
                agents[agent] = agents.get(agent, 0) + 1
