"""Is it fast? ``python -m benchmarks`` times the library beside its peers and writes a report.

`cases` says what is measured and `contestants` who takes part; `checks` holds every result against the oracle before
`timing` may measure it; `fresh` starts new processes for memory and cold starts; `ceilings` asks the machine how fast
anything could be; `run` goes through it all, `rows` is the table that comes out, and `report`, `plots`, `compare` and
`readme` are what is made of it.
"""
