"""What a command and a worker load before they work: nothing that no stage uses, and nothing lost by that."""

from __future__ import annotations

import subprocess
import sys


def said(code: str) -> list[str]:
    """Lines that a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_run_loads_no_trained_models_engine():
    code = "import pipeline.curate, sys; print(*sorted({'spacy', 'thinc', 'torch', 'transformers'} & set(sys.modules)))"
    assert said(code) == [""]


def test_presidios_engines_are_loaded_when_somebody_uses_them():
    code = """
import filters.light_presidio, sys
from presidio_analyzer.nlp_engine import NoOpNlpEngine, SpacyNlpEngine
print('spacy' in sys.modules)
engine = NoOpNlpEngine([{'lang_code': 'en', 'model_name': 'none'}])
engine.load()
print(isinstance(engine, NoOpNlpEngine), isinstance(engine, SpacyNlpEngine), SpacyNlpEngine.engine_name)
class Own(SpacyNlpEngine): pass
import spacy
print(len(spacy.blank('en')('two words')), Own.__mro__[1].__module__)
"""
    assert said(code) == ["False", "True False spacy", "2 presidio_analyzer.nlp_engine.spacy_nlp_engine"]


def test_spacy_that_is_loaded_already_stays():
    code = (
        "import spacy; import filters.light_presidio, sys; print(sys.modules['spacy'] is spacy, spacy.blank('en').lang)"
    )
    assert said(code) == ["True en"]
