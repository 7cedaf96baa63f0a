"""The token cache: a verified corpus, tokenized once, with a table that knows for every token whose it is.

Shards are read only through the manifest, and only after their digests match. The cache is named by the corpus's Merkle
root and the tokenizer's digest. It is one memory-mapped array of tokens, for the near-duplicate Goldfish mask a second
one that says which are left out, and a table of documents (Parquet: id, shard, row, source, start, end), so that a
batch can be traced to the documents in it.

What was withdrawn cannot be reached. A new run builds its cache from the corpus as it is now, and the tokens of caches
of other roots are deleted. A run that goes on after a retraction keeps its cache, since the order of the data hangs on
it, but the tokens of every document with a tombstone are overwritten on the disk before the first step, and the
document stays as a hole: no input, no target. The document table has no text and stays, so that `fairtrove steps` can
say what had been seen until then.

Tokenizing costs 200 times more than reading tokens back, hence the cache.

Shapes: N documents.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from manifests.corpus import Corpus, CorpusError, Shard, open_corpus
from train.errors import TrainError
from train.goldfish import Goldfish, Variant
from train.near_duplicate import dropped_tokens
from train.publish import publish_folder, publish_text, remove_leftovers
from train.shuffle import mix
from train.tokenizer import DocumentTokenizer

CACHE_FORMAT = 2
_READ_ROWS = 512  # documents per tokenizer call: enough to keep its threads busy, little memory


class DocumentTable:
    """The documents of a cache, without their tokens.

    Attributes:
        root, version: of the corpus that the cache was made of.
        starts, ends: token range of each document [N].
        order_hashes: hash of each document's key [N], which the shuffle and the validation split use.
        sources: names of the sources, and the number of each document's [N].
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.described = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
            self.root: str = self.described["corpus_root"]
            self.version: int = self.described["corpus_version"]
            self.begin: int = self.described["begin"]
            self.end: int = self.described["end"]
            columns = ["order_hash", "start", "end", "source"]
            table = pq.read_table(folder / "documents.parquet", columns=columns, read_dictionary=["source"])
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(folder, error) from error
        self.order_hashes: NDArray[np.uint64] = table["order_hash"].to_numpy()
        self.starts: NDArray[np.int64] = table["start"].to_numpy()
        self.ends: NDArray[np.int64] = table["end"].to_numpy()
        source = table["source"].unify_dictionaries().combine_chunks()
        source = source.chunk(0) if isinstance(source, pa.ChunkedArray) and source.num_chunks else source
        self.sources: tuple[list[str], NDArray[np.int64]] = (
            ([], np.zeros(0, np.int64))
            if not len(table)
            else (source.dictionary.to_pylist(), source.indices.to_numpy().astype(np.int64))
        )

    def name_documents(self, table_rows: NDArray[np.int64]) -> list[str]:
        """Id of each document, or `shard:row` where the source gave it none."""
        table = pq.read_table(self.folder / "documents.parquet", columns=["id", "shard", "row"])
        names = table.take(pa.array(table_rows)).to_pylist()
        return [document["id"] or f"{document['shard']}:{document['row']}" for document in names]

    def find(self, places: Sequence[tuple[str, int]]) -> NDArray[np.int64]:
        """Rows of the table that hold the documents at (shard, row) places, ascending; unknown places are left out."""
        table = pq.read_table(self.folder / "documents.parquet", columns=["shard", "row"])
        numbers = pa.table({"shard": table["shard"].cast(pa.string()), "row": table["row"]})
        numbers = numbers.append_column("number", pa.array(np.arange(len(table))))
        shards, rows = [shard for shard, _ in places], [row for _, row in places]
        wanted = pa.table({"shard": pa.array(shards, pa.string()), "row": pa.array(rows, pa.int64())})
        found = wanted.join(numbers, ["shard", "row"], join_type="inner")
        return np.unique(found["number"].to_numpy())

    @property
    def withdrawn(self) -> dict[int, int]:
        """Table rows of withdrawn documents, each with the corpus version that withdrew it."""
        return {int(row): version for row, version in self._tombstones["documents"].items()}

    @property
    def applied_version(self) -> int:
        """The corpus version up to which tombstones are applied."""
        return self._tombstones["version"]

    @property
    def _tombstones(self) -> dict:
        path = self.folder / "tombstones.json"
        if not path.exists():
            return {"version": self.version, "documents": {}}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise _damaged(self.folder, error) from error


class TokenCache(DocumentTable):
    """Tokens of a corpus under one tokenizer, memory-mapped, with the table of its documents.

    Attributes:
        tokens: all documents' tokens, one after the other.
        dropped: 1 where the near-duplicate mask leaves a token out; None when the cache has no such mask.
        holes: True for each document that was withdrawn [N]; None when there is none.
    """

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.dropped: NDArray[np.uint8] | None = None
        try:
            size, dtype = self.described["tokens"], np.dtype(self.described["dtype"])
            self.tokens = _map(folder / "tokens.bin", dtype, size)
            if self.described["mask"]:
                self.dropped = _map(folder / "dropped.bin", np.dtype(np.uint8), size)
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(folder, error) from error
        self.holes: NDArray[np.bool_] | None = None
        if withdrawn := self.withdrawn:
            self.holes = np.zeros(len(self.starts), dtype=bool)
            self.holes[list(withdrawn)] = True


def open_cache(corpus: Corpus, tokenizer: DocumentTokenizer, folder: Path, mask: Goldfish | None = None) -> TokenCache:
    """Open the token cache of a corpus in `folder`, building it first if it is not there.

    The corpus must have been verified. The tokens of caches of other roots are deleted: they may hold what was
    withdrawn since.
    """
    _prepare(folder, keep=corpus.root)
    cache = cache_folder(folder, corpus.root, tokenizer.digest, mask)
    if not (cache / "tokens.bin").exists():
        shutil.rmtree(cache, ignore_errors=True)  # a cache of this root that had been retired
        _build_cache(corpus, tokenizer, cache, mask if mask and mask.variant is Variant.NEAR_DUPLICATE else None)
    return TokenCache(cache)


def reopen_cache(
    corpus: Corpus, root: str, tokenizer: DocumentTokenizer, folder: Path, mask: Goldfish | None = None
) -> TokenCache:
    """Open the cache that a run began with on the corpus of that `root`, without what was withdrawn since.

    Raises:
        TrainError: the corpus is not that one, nor made of it by retractions alone; or the cache is gone.
    """
    if root == corpus.root:
        return open_cache(corpus, tokenizer, folder, mask)
    chain = retractions_since(corpus, root)
    if chain is None:
        raise TrainError(
            f"the run began on corpus root {root[:16]}…, and {corpus.path} at {corpus.root[:16]}… (version "
            f"{corpus.version}) was not made of it by retractions alone, so documents may be withdrawn or added; "
            "use another --out, or --restart to begin anew in this one"
        )
    _prepare(folder, keep=root)
    cache = cache_folder(folder, root, tokenizer.digest, mask)
    if not (cache / "tokens.bin").exists():
        raise TrainError(
            f"{cache}: the tokens that the run began with are gone, and the corpus has had documents withdrawn since; "
            "use another --out, or --restart to begin anew in this one"
        )
    _bury(TokenCache(cache), chain)
    return TokenCache(cache)


def cache_folder(folder: Path, root: str, tokenizer_sha256: str, mask: Goldfish | None) -> Path:
    """Where in `folder` the cache of a corpus root lies; the near-duplicate mask is part of it."""
    name = f"tokens-{root[:16]}-{tokenizer_sha256[:16]}"
    near = mask is not None and mask.variant is Variant.NEAR_DUPLICATE
    return folder / (f"{name}-{mask.variant}-{mask.k}-{mask.h}" if mask and near else name)


def retractions_since(corpus: Corpus, root: str) -> list[Corpus] | None:
    """The retractions that lead from the version of that root to `corpus`, oldest first; None if others do too."""
    chain: list[Corpus] = []
    while corpus.root != root:
        parent = corpus.run.get("parent")
        if "retraction" not in corpus.run or parent is None:
            return None
        chain.insert(0, corpus)
        try:
            corpus = open_corpus(corpus.path, parent)
        except CorpusError:
            return None
    return chain


def read_texts(corpus: Corpus, limit_bytes: int) -> Iterator[str]:
    """Texts of about `limit_bytes` bytes, drawn from all shards alike by the hash of the document's key."""
    total = sum(shard.text_bytes for shard in corpus.shards)
    share = min(1.0, limit_bytes / max(total, 1))
    for shard in corpus.shards:
        for _, ids, texts, _ in _read_shard(shard):
            for identity, text in zip(ids, texts, strict=True):
                if share == 1.0 or order_hash(identity, text) < int(share * 2**64):
                    yield text


def split_documents(cache: DocumentTable, validation: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the document table to train on, and those held out: a share by the hash of the document's key."""
    # another mix than the shuffle's, else the held-out documents would be one end of its order
    drawn = mix(cache.order_hashes ^ np.uint64(0x5851F42D4C957F2D)) / 2.0**64
    return np.flatnonzero(drawn >= validation), np.flatnonzero(drawn < validation)


def order_hash(identity: str | None, text: str) -> int:
    """64-bit hash of a document's key: its id, or its text where the source gave it none."""
    content = f"id:{identity}" if identity else f"text:{text}"
    return int.from_bytes(hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _prepare(folder: Path, keep: str) -> None:
    """Make the folder, remove what a killed run left, and delete the tokens of other roots than `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    for other in folder.glob("tokens-*"):
        if not other.name.startswith(f"tokens-{keep[:16]}-"):
            for name in ("tokens.bin", "dropped.bin"):
                (other / name).unlink(missing_ok=True)


def _bury(cache: TokenCache, chain: Sequence[Corpus]) -> None:
    """Overwrite the tokens of documents that these retractions withdrew, then record that it is done."""
    new = [corpus for corpus in chain if corpus.version > cache.applied_version]
    if not new:
        return
    withdrawn = cache.withdrawn
    began = open_corpus(new[0].path, cache.version)
    for corpus in new:
        for row in cache.find(_places(began, corpus)).tolist():
            withdrawn.setdefault(row, corpus.version)
    tokens = np.memmap(cache.folder / "tokens.bin", dtype=cache.tokens.dtype, mode="r+")
    for row in withdrawn:
        tokens[cache.starts[row] : cache.ends[row]] = 0
    tokens.flush()
    content = {"version": new[-1].version, "documents": {str(row): withdrawn[row] for row in sorted(withdrawn)}}
    publish_text(cache.folder / "tombstones.json", json.dumps(content) + "\n")


def _places(began: Corpus, later: Corpus) -> list[tuple[str, int]]:
    """Where the documents that `later` withdrew lay in the version that the cache was made of.

    A retraction may have moved them in between, so they are found by their place in the input file, which never moves.
    """
    columns = ["task", "file_row"]
    tombstones = pa.concat_tables([pq.read_table(path, columns=columns) for path in later.tables("tombstones")])
    places: list[tuple[str, int]] = []
    for task in tombstones["task"].unique().to_pylist():
        rows = tombstones.filter(pa.compute.equal(tombstones["task"], task))["file_row"]
        kept = pq.read_table(began.manifest / "kept" / f"{task}.parquet", columns=["file_row", "shard", "shard_row"])
        found = kept.filter(pa.compute.is_in(kept["file_row"], value_set=rows.combine_chunks()))
        if len(found) != len(rows):
            raise TrainError(
                f"{began.manifest}: does not list every document that version {later.version} withdrew; "
                "run `fairtrove audit`, and begin anew with --restart"
            )
        places += zip(found["shard"].to_pylist(), found["shard_row"].to_pylist(), strict=True)
    return places


def _build_cache(corpus: Corpus, tokenizer: DocumentTokenizer, cache: Path, mask: Goldfish | None) -> None:
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
    position = 0
    parts: list[pa.Table] = []
    with publish_folder(cache) as draft:
        with (draft / "tokens.bin").open("wb") as tokens, (draft / "dropped.bin").open("wb") as dropped:
            for shard in corpus.shards:
                for first_row, ids, texts, sources in _read_shard(shard):
                    if mask:
                        encoded, offsets = tokenizer.encode_with_offsets(texts)
                        for masked in dropped_tokens(texts, offsets, mask.k, mask.h):
                            np.pad(masked, 1).astype(np.uint8).tofile(dropped)  # BoD and EoD stay
                    else:
                        encoded = tokenizer.encode(texts)
                    lengths = np.array([len(document) + 2 for document in encoded], dtype=np.int64)
                    for document in encoded:
                        np.array([tokenizer.begin, *document, tokenizer.end], dtype=dtype).tofile(tokens)
                    ends = position + np.cumsum(lengths)
                    parts.append(_describe(shard, first_row, ids, texts, sources, ends - lengths, ends))
                    position = int(ends[-1])
        if not mask:
            (draft / "dropped.bin").unlink()
        pq.write_table(pa.concat_tables(parts) if parts else _DOCUMENTS.empty_table(), draft / "documents.parquet")
        described = {
            "format": CACHE_FORMAT,
            "corpus_root": corpus.root,
            "corpus_version": corpus.version,
            "tokenizer_sha256": tokenizer.digest,
            "mask": {"variant": mask.variant, "k": mask.k, "h": mask.h} if mask else None,
            "begin": tokenizer.begin,
            "end": tokenizer.end,
            "dtype": dtype.name,
            "tokens": position,
            "documents": sum(len(part) for part in parts),
        }
        (draft / "cache.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


_DOCUMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("source", pa.string()),
        ("order_hash", pa.uint64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)


def _describe(
    shard: Shard,
    first_row: int,
    ids: list[str | None],
    texts: list[str],
    sources: list[str],
    starts: NDArray,
    ends: NDArray,
) -> pa.Table:
    return pa.table(
        {
            "id": ids,
            "shard": [shard.name] * len(ids),
            "row": np.arange(first_row, first_row + len(ids)),
            "source": sources,
            "order_hash": np.array([order_hash(i, t) for i, t in zip(ids, texts, strict=True)], dtype=np.uint64),
            "start": starts,
            "end": ends,
        },
        schema=_DOCUMENTS,
    )


def _read_shard(shard: Shard) -> Iterator[tuple[int, list[str | None], list[str], list[str]]]:
    """Groups of documents of a shard: number of the first row, ids, texts, sources."""
    with pq.ParquetFile(shard.path) as file:
        if file.metadata.num_rows != shard.rows:
            raise CorpusError(f"{shard.path}: {file.metadata.num_rows} rows, the manifest vouches for {shard.rows}")
        row = 0
        for group in file.iter_batches(batch_size=_READ_ROWS, columns=["id", "text", "source"]):
            yield row, group["id"].to_pylist(), group["text"].to_pylist(), group["source"].to_pylist()
            row += len(group)


def _map(path: Path, dtype: np.dtype, size: int) -> NDArray:
    if path.stat().st_size != size * dtype.itemsize:
        raise ValueError(f"{path.name} has another size than cache.json says")
    # a file of no bytes cannot be mapped
    return np.memmap(path, dtype=dtype, mode="r") if size else np.zeros(0, dtype)


def _damaged(folder: Path, error: Exception) -> TrainError:
    return TrainError(f"token cache {folder}: damaged ({error}); delete it, it will be built again")
