"""Is the number right? ``python -m validation`` measures and writes a report.

Read `__main__` for the questions that can be asked and `tolerances` for what is promised. `accuracy` holds the library
against every oracle: each kind of measurement is a file (`values`, `gradients`, `stability`, `dtypes`) that yields
`rows.Measurement`. `fuzz` does the same on random calls. `report` is what any report is made of, `harness` and
`library` are what the questions share, and `emulated_gpu` runs the GPU kernels' machine code on a CPU.

`peers` compares other implementations with Wang: `cases` has the images by kind, `measure` the measurements, and
`tables` makes the section with the tables and the heat map.

`subjective` asks for agreement with subjective scores: `question` loads the databases, `scoring` scores them,
`correlations` has the statistics, `published.csv` the published values, and `tables` makes the section.
"""
