"""Downloads one file of a Python package as it is, without building it: `fetch.py PROJECT FILE FOLDER`.

`pip download` runs the build of every source archive to learn its dependencies; this asks pip's own index and session
for the archive alone. Without FILE it lists the files of the project.
"""

import os
import sys

from pip._internal.index.collector import LinkCollector
from pip._internal.models.index import PyPI
from pip._internal.models.search_scope import SearchScope
from pip._internal.network.session import PipSession

project, file, folder = (*sys.argv[1:], "", "")[:3]
session = PipSession(retries=3)
session.timeout = 180
if os.environ.get("PIP_CERT"):
    session.verify = os.environ["PIP_CERT"]
scope = SearchScope.create([], [PyPI.simple_url], False)
sources = LinkCollector(session, scope).collect_sources(project, lambda _: None)
links = [link for source in sources.index_urls if source for page in [LinkCollector(session, scope).fetch_response(source.link)]
         if page for link in __import__("pip._internal.index.collector", fromlist=["parse_links"]).parse_links(page)]
if not file:
    print("\n".join(link.filename for link in links))
    sys.exit()
link = next((link for link in links if link.filename == file), None)
if link is None:
    sys.exit(f"{project} has no file {file}")
response = session.get(link.url_without_fragment)
response.raise_for_status()
with open(os.path.join(folder, file), "wb") as out:
    out.write(response.content)
