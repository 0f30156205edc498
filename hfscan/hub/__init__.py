"""The Hugging Face Hub: references, loading, saving, pushing. The only package that talks to it."""

from __future__ import annotations

from hfscan.hub.load import load, wrap
from hfscan.hub.push import PushPlan, PushResult, execute, plan_push, push
from hfscan.hub.save import save

__all__ = ["PushPlan", "PushResult", "execute", "load", "plan_push", "push", "save", "wrap"]
