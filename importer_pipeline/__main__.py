"""`python -m importer_pipeline`: the command line."""

from importer_pipeline.cli.main import main

if __name__ == "__main__":
    main()
