"""Benchmarks of aiowery, each measured by itself in fresh processes on loopback.

python -m benchmarks                  run all of them, and write the results to RESULTS.md (about half an hour)
python -m benchmarks gets polls       run some of them, and only print their results
python -m benchmarks --quick          run all of them in miniature, to see that they work, and only print the results
"""
