# /// script
# requires-python = ">=3.10"
# dependencies = [
#   "hfscan @ git+https://github.com/OWNER/hfscan",
#   "torch",  # of the index below, which counts for what is named here
#   "torchvision",
# ]
#
# [[tool.uv.index]]
# name = "pytorch-cpu"
# url = "https://download.pytorch.org/whl/cpu"
# explicit = true
#
# [tool.uv.sources]
# torch = { index = "pytorch-cpu" }
# torchvision = { index = "pytorch-cpu" }
#
# [tool.hf-jobs]
# flavor = "cpu-upgrade"
# timeout = "1h"
# name = "hfscan"
# secrets = ["HF_TOKEN"]
# ///
"""Audit a model on Hugging Face's machines, with whatever options `hfscan audit` has:

    hf jobs uv run examples/scan_job.py user/model --clean-data cifar10 --budget 20m -f markdown

Put the owner of your copy of hfscan into the dependency above. Without Hugging Face: `uv run examples/scan_job.py ...`.
The job's exit code is that of the audit: 1 if the model is suspicious or backdoored.
"""

from __future__ import annotations

import sys

from hfscan.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["audit"]
    main()
