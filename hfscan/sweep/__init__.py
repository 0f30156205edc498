"""Audits of many models: a queue on disk, a process for each audit, on this machine or on several.

Workers on other machines import `hfscan.sweep.process` and little else, so nothing is imported here.
"""
