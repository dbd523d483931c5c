"""Brings the catalogues up to date: new texts are added, with nothing said yet, and those that are no more go."""

import sys

from tests.languages.catalogues import DOMAINS, TRANSLATED, path_of, update
from tests.languages.extract import ROOT

for domain in DOMAINS:
    for language in TRANSLATED:
        missing = update(domain, language)
        sys.stdout.write(f"{path_of(domain, language).relative_to(ROOT)}: {missing or 'none'} missing\n")
