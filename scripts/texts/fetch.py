"""Downloads one file of a Python package as it is, without building it: `fetch.py PROJECT FILE FOLDER`.

`pip download` runs the build of every source archive to learn its dependencies; this asks pip's own index and session
for the archive alone. They are not pip's public interface: written for pip 23 to 26.
"""

import os
import sys

from pip._internal.index.collector import LinkCollector, parse_links
from pip._internal.models.index import PyPI
from pip._internal.models.link import Link
from pip._internal.models.search_scope import SearchScope
from pip._internal.network.session import PipSession

project, file, folder = sys.argv[1:]
session = PipSession(retries=3)
session.timeout = 180
session.verify = os.environ.get("PIP_CERT", session.verify)

scope = SearchScope.create([], [PyPI.simple_url], False)
collector = LinkCollector(session, scope)
pages = [collector.fetch_response(Link(url)) for url in scope.get_index_urls_locations(project)]
link = next((link for page in pages if page for link in parse_links(page) if link.filename == file), None)
if link is None:
    sys.exit(f"{project} has no file {file}")
response = session.get(link.url_without_fragment)
response.raise_for_status()
with open(os.path.join(folder, file), "wb") as out:
    out.write(response.content)
