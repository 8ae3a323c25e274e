"""``python -m amgan_fast``: the command ``amgan-fast``."""

from amgan_fast.cli import main

if __name__ == "__main__":
    main()
