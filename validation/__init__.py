"""Is the number right? ``python -m validation`` measures and writes a report.

Read `__main__` for the questions that can be asked, `budgets` for what is promised, and `accuracy` for the first
question, the library against every oracle: one file for each kind of measurement (`values`, `gradients`, `stability`
and `dtypes`) yields `rows.Measurement`, `rows` makes the table with its verdicts of them, and `accuracy_sections` the
sections of the report, with the figures of `plots` and `worst`. `section` says what a part of the report is made of,
`report` writes it all, with `page` for HTML and `paper` for LaTeX, and `readme` the table in README.md.

`peers` compares other implementations with Wang: `cases` has the images by kind, `measure` the measurements, and
`tables` makes the section with the tables and the heat map.

`subjective` asks for agreement with subjective scores: `question` loads the databases, `scoring` scores them,
`correlations` has the statistics, `published.csv` the published values, and `tables` makes the section.
"""
