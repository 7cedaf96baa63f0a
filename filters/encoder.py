"""The published way to score toxicity: a multilingual encoder, mean pooling, a two-layer head per language.

The recipe (arXiv 2509.14233, section 3.1.3; GitHub swiss-ai/pretrain-data) embeds each stretch of 512 tokens with
XLM-R, averages the last hidden states over the attention mask, and puts Linear-ReLU-Dropout-Linear on top; a
document's score is the maximum over its stretches. Its published heads load here unchanged. On a CPU it costs 0.6 s
per 512 tokens (XLM-R base, float32), some 700 times the n-gram model: it is for GPUs, samples and calibration.

Needs torch and transformers (`pip install 'fairtrove[train]'`), and the encoder's files on this machine: nothing is
ever downloaded here.
"""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from filters.scores import Mark, ModelError, exact

MAXIMUM_TOKENS = 512
# Batches have one of few shapes: always ROWS rows, a multiple of STEP tokens. A row's result then does not depend on
# what else is in the batch, because the same matrix kernels run whatever the neighbours are.
ROWS, STEP = 8, 64
DECIMALS = 4  # float32 sums over hundreds of tokens are not stable beyond it from machine to machine
DEFAULT_THRESHOLD = 0.5
EVERY_LANGUAGE = "default"
PUBLISHED_NAMES = {  # the published training script names its files so
    "chinese": "cmn_Hani",
    "dutch": "nld_Latn",
    "english": "eng_Latn",
    "french": "fra_Latn",
    "german": "deu_Latn",
    "italian": "ita_Latn",
    "polish": "pol_Latn",
    "portuguese": "por_Latn",
    "spanish": "spa_Latn",
}
_LAYER = re.compile(
    r"(?:(?P<label>[a-z]{3}(?:_[A-Z][a-z]{3})?)\.)?(?:classifier\.)?(?P<layer>[03])\.(?P<kind>weight|bias)"
)


class EncoderScorer:
    """Scores by an encoder and per-language heads; see `filters.toxicity.Scorer`.

    Args:
        encoder: folder of a `transformers` encoder, or the hub id of one that is in the local cache.
        heads: `.safetensors` or torch file with tensors `0.weight 0.bias 3.weight 3.bias` (a prefix `classifier.` is
            fine), each preceded by `deu_Latn.` where heads differ by language; or a folder of such files named by
            label (`deu_Latn.pth`, or `german.pth` as published). Tensors without a label serve every language.
    """

    protocol = "encoder"
    length_corrected = False

    def __init__(self, encoder: str, heads: str, precision: str = "float32"):
        self._embedder = embedder(encoder, precision)
        self._heads = _load_heads(Path(heads), self._embedder.hidden)
        self.digest = _digest(encoder, heads)
        self.detector = f"{_local_folder(encoder).name}+{Path(heads).stem}@{self.digest.hex()[:12]}"

    def marks(self, texts: Sequence[str], languages: Sequence[str]) -> list[Mark | None]:
        """Maximum over a text's stretches; None for a language without a head."""
        heads = [self._head(language) for language in languages]
        scored = [index for index, head in enumerate(heads) if head is not None]
        best: list[Mark | None] = [None] * len(texts)
        for index in scored:
            best[index] = Mark(0.0, 0, 0)
        counts = [0] * len(texts)
        for place, start, end, vector in self._embedder.stretches([texts[index] for index in scored]):
            owner = scored[place]
            counts[owner] += 1
            value = self._score(vector, heads[owner] or {})
            known = best[owner]
            # Ties go to the earlier stretch, since the order of batches must not show.
            if known is None or not known.end or (value, -start) > (known.score, -known.start):
                best[owner] = Mark(value, start, end)
        return [mark and replace(mark, windows=max(count, 1)) for mark, count in zip(best, counts, strict=True)]

    def threshold(self, language: str) -> float | None:
        """0.5, the point where the head is undecided; a policy should bring thresholds calibrated for its heads."""
        return DEFAULT_THRESHOLD if self._head(language) is not None else None

    def _score(self, vector: Any, head: Mapping[str, Any]) -> float:
        """Probability of the second class; dropout is the identity outside training."""
        torch = extra_module("torch")
        with torch.inference_mode():
            inner = torch.relu(head["0.weight"] @ vector + head["0.bias"])
            logits = head["3.weight"] @ inner + head["3.bias"]
            return exact(round(float(torch.softmax(logits.double(), dim=0)[1]), DECIMALS))

    def _head(self, language: str) -> Mapping[str, Any] | None:
        for name in (language, language[:3], EVERY_LANGUAGE):
            if name in self._heads:
                return self._heads[name]
        return None


class Embedder:
    """Vectors of stretches of text: mean of an encoder's last hidden states.

    Args:
        encoder: folder or hub id, see `EncoderScorer`.
        precision: `float32`; `bfloat16`, which halves the memory and gains speed where the processor has the
            instructions (AMX, AVX512-BF16, GPUs); or `int8`, the linear layers' weights and inputs in 8 bits, CPU only.
    """

    def __init__(self, encoder: str, precision: str = "float32"):
        self._torch = extra_module("torch")
        folder = _local_folder(encoder)
        transformers = extra_module("transformers")
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._encoder = transformers.AutoModel.from_pretrained(folder, local_files_only=True).float().eval()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"encoder {encoder}: {error}; give a folder saved by `save_pretrained`") from error
        if not self._tokenizer.is_fast:
            raise ModelError(f"encoder {encoder}: its tokenizer reports no offsets; convert it to a fast tokenizer")
        self.hidden = int(self._encoder.config.hidden_size)
        self._length = min(self._tokenizer.model_max_length, MAXIMUM_TOKENS)
        self._device = "cuda" if self._torch.cuda.is_available() else "cpu"
        if precision == "int8":
            self._device = "cpu"  # the quantised kernels are written for it
            self._encoder = _quantized(self._torch, self._encoder)
        elif precision == "bfloat16":
            self._encoder = self._encoder.bfloat16()
        self._encoder.to(self._device)

    def stretches(self, texts: Sequence[str]) -> Iterator[tuple[int, int, int, Any]]:
        """Index of a text, code point range of one of its stretches and float32[hidden], its vector; by length."""
        chunks = [(owner, *chunk) for owner, text in enumerate(texts) for chunk in self._chunks(text)]
        # Longest first: a batch that is too large for the machine fails at once, not after an hour.
        chunks.sort(key=lambda chunk: -len(chunk[1]))
        for batch in _same_shape(chunks):
            vectors = self._embed([tokens for _, tokens, _, _ in batch])
            for (owner, _, start, end), vector in zip(batch, vectors, strict=False):  # unused rows
                yield owner, start, end, vector

    def _chunks(self, text: str) -> Iterator[tuple[list[int], int, int]]:
        """Token ids (with special tokens) and code point range of each stretch of the text."""
        clean = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate becomes one `?`: offsets hold
        if not clean.strip():
            return
        encoded = self._tokenizer(
            clean,
            max_length=self._length,
            truncation=True,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for tokens, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            spans = [span for span in offsets if span[1] > span[0]]
            if spans:
                yield tokens, spans[0][0], spans[-1][1]

    def _embed(self, chunks: Sequence[Sequence[int]]) -> Any:
        """float32[ROWS, hidden], mean of the last hidden states over real tokens; unused rows repeat the first."""
        torch = self._torch
        width = _padded(max(map(len, chunks)))
        ids = torch.full((ROWS, width), self._tokenizer.pad_token_id or 0)
        mask = torch.zeros((ROWS, width), dtype=torch.long)
        for row in range(ROWS):
            tokens = chunks[row] if row < len(chunks) else chunks[0]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        ids, mask = ids[:, : self._length].to(self._device), mask[:, : self._length].to(self._device)
        with torch.inference_mode():
            hidden = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            hidden = hidden.float()
            weight = mask.unsqueeze(-1).to(hidden.dtype)
            return ((hidden * weight).sum(1) / weight.sum(1)).cpu()


@functools.cache
def encoder_scorer(encoder: str, heads: str, precision: str = "float32") -> EncoderScorer:
    """The scorer for these files; loaded once per process."""
    return EncoderScorer(encoder, heads, precision)


@functools.cache
def embedder(encoder: str, precision: str = "float32") -> Embedder:
    """The encoder at a path; loaded once per process."""
    return Embedder(encoder, precision)


def _quantized(torch: Any, encoder: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the successor of this function in a package of its own
        return torch.ao.quantization.quantize_dynamic(encoder, {torch.nn.Linear}, dtype=torch.qint8)


def fingerprint(encoder: str, heads: str) -> dict[str, str]:
    """Digest of encoder and heads and the versions that compute with them; loads neither."""
    try:
        versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"toxicity by encoder needs {error.name}; run `pip install 'fairtrove[train]'`") from error
    return {"model": _digest(encoder, heads).hex()} | versions


def _padded(tokens: int) -> int:
    return -(-tokens // STEP) * STEP


def _same_shape(chunks: Sequence[tuple[int, list[int], int, int]]) -> Iterator[list[tuple[int, list[int], int, int]]]:
    """Up to ROWS chunks at a time that pad to the same width; the chunks come sorted by length."""
    batch: list[tuple[int, list[int], int, int]] = []
    for chunk in chunks:
        if batch and (len(batch) == ROWS or _padded(len(chunk[1])) != _padded(len(batch[0][1]))):
            yield batch
            batch = []
        batch.append(chunk)
    if batch:
        yield batch


def _load_heads(path: Path, hidden: int) -> dict[str, dict[str, Any]]:
    heads: dict[str, dict[str, Any]] = {}
    for file in _head_files(path):
        for name, tensor in _tensors(file).items():
            if match := _LAYER.fullmatch(name):
                own = PUBLISHED_NAMES.get(file.stem, file.stem) if path.is_dir() else EVERY_LANGUAGE
                layer = f"{match['layer']}.{match['kind']}"
                heads.setdefault(match["label"] or own, {})[layer] = tensor.float().cpu()
    if not heads:
        raise ModelError(f"heads {path}: no tensor is named like `0.weight` or `deu_Latn.0.weight`")
    for label, head in heads.items():
        shapes = {layer: tuple(tensor.shape) for layer, tensor in head.items()}
        inner = shapes.get("0.weight", (0, 0))[0]
        wanted = {"0.weight": (inner, hidden), "0.bias": (inner,), "3.weight": (2, inner), "3.bias": (2,)}
        if shapes != wanted:
            raise ModelError(f"heads {path}: {label} has {shapes}, this encoder needs {wanted}")
    return heads


def _head_files(path: Path) -> list[Path]:
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ModelError(f"heads {path}: no such file; give a .safetensors or torch file of the heads' state dict")
    return files


def _tensors(file: Path) -> dict[str, Any]:
    """Flat tensors by name; nested dictionaries (label -> state dict) are joined with a dot."""
    torch = extra_module("torch")
    try:
        if file.suffix == ".safetensors":
            return extra_module("safetensors.torch").load_file(str(file))
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling and safetensors raise classes of their own
        raise ModelError(f"heads {file}: not a state dict of plain tensors ({error})") from error
    flat: dict[str, Any] = {}
    for name, value in loaded.items():
        nested = value if isinstance(value, Mapping) else {"": value}
        flat |= {".".join(filter(None, (name, inner))): tensor for inner, tensor in nested.items()}
    return {name: tensor for name, tensor in flat.items() if isinstance(tensor, torch.Tensor)}


def _local_folder(encoder: str) -> Path:
    """Folder of an encoder: a path, or what the hub's cache on this machine has of `org/name` or `hf://org/name@revision`."""
    if Path(encoder).is_dir():
        return Path(encoder)
    name, _, revision = encoder.removeprefix("hf://").partition("@")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"encoder {encoder}: neither a folder nor a model in the local hub cache; run `hf download {name}"
            + (f" --revision {revision}` first" if revision else "` first")
        ) from error


@functools.cache
def _digest(encoder: str, heads: str) -> bytes:
    """One SHA-256 over the names and digests of files, so that a changed tokenizer counts as a changed model."""
    total = hashlib.sha256()
    for path in [*sorted(_local_folder(encoder).rglob("*")), *_head_files(Path(heads))]:
        if path.is_file():
            with path.open("rb") as file:
                total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.digest()


def extra_module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"toxicity by encoder needs {name}; run `pip install 'fairtrove[train]'`") from error
