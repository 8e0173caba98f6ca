"""Benchmarks of aiowery, each measured by itself in fresh processes on loopback.

python -m benchmarks                  all of them, and the page RESULTS.md (about six minutes)
python -m benchmarks scheduler        one of them, printed only
python -m benchmarks --quick          all of them in miniature, printed only: do they still work?
"""
