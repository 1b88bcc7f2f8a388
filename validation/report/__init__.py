"""Sections, tables, figures, and their HTML, Markdown and LaTeX files. Knows no measurement."""
