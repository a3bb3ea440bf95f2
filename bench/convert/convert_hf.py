"""Runs llama.cpp's convert_hf_to_gguf.py with one more known tokenizer: LLAMA_CPP PRE CHECKPOINT --outfile ... as there.

The converter knows ways of splitting text by hashes of published vocabularies. Generated ones are not among them, so what it does not know has
the name PRE here; everything else is untouched."""

import runpy
import sys
from pathlib import Path

folder, pre, *rest = sys.argv[1:]
sys.path.insert(0, folder)
sys.path.insert(1, str(Path(folder) / "gguf-py"))

from conversion.base import TextModel  # noqa: E402

lookup = TextModel.get_vocab_base_pre


def known(self, tokenizer):
    try:
        return lookup(self, tokenizer)
    except NotImplementedError:
        return pre


TextModel.get_vocab_base_pre = known
script = str(Path(folder) / "convert_hf_to_gguf.py")
sys.argv = [script, *rest]
runpy.run_path(script, run_name="__main__")
