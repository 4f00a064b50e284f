"""The fault suite: real daemons on real etcds are harmed, and what receivers were told is held against the truth.

`python -m tests.faults` runs it and prints one table. `stage` builds what is harmed, `driver` makes services come and
go and writes down the truth, `oracle` judges, `catalogue` lists the faults. Nothing here knows how alertd works inside,
except `steps`, which knows what its steps of a delivery are called.
"""
