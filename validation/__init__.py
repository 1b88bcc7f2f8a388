"""Is the number right? ``python -m validation`` measures and writes a report.

`__main__` lists the questions, and `tolerances` the error budgets. `accuracy` compares the library with every oracle:
each kind of measurement is a file (`values`, `gradients`, `stability`, `dtypes`) that yields `rows.Measurement`. `fuzz`
does the same on random calls. `report` makes every report, `harness` and `library` have the code that questions share,
and `emulated_gpu` runs the GPU kernels' machine code on a CPU.

`peers` compares other implementations with Wang: `cases` has the images by kind, `measure` the measurements, and
`tables` makes the section with the tables and the heat map.

`subjective` measures the agreement with subjective scores: `question` loads the databases, `scoring` scores them,
`correlations` has the statistics, `published.csv` the published values, and `tables` makes the section.
"""
