"""Is the number right? ``python -m validation`` measures the library against every oracle and writes a report.

Read `__main__` for the order of things, `budgets` for what is promised, and one file for each kind of question:
`values`, `gradients`, `stability` and `dtypes`. Each of them yields `rows.Measurement`; `rows` makes the table with its
verdicts of them, `plots` and `report` what people look at, and `readme` the table in README.md.
"""
