"""What the documentation site (mkdocs.yml) needs beside its tools: files outside docs/, formulas, docstrings."""
