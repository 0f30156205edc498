"""The Hugging Face Hub: references, loading, saving, pushing. The only package that talks to it.

It imports nothing by itself: who needs a reference or a commit does not need PyTorch.
"""
