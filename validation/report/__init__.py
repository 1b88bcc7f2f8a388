"""What any report is made of: sections, figures, HTML, Markdown; knows no measurement."""
