"""Speed: ``python -m benchmarks`` times the library and other implementations and writes a report.

`cases` and `presets` define what is measured, and `implementations` what is compared. `checks` compares every result
with the oracle before `timing` measures it. `new_process` measures memory and cold starts in new processes, and
`ceilings` the bandwidth and arithmetic rate of the machine. `run` does all of it; `rows` defines the table of results,
from which `report`, `tables`, `plots`, `compare` and `readme` make their output.
"""
