"""The dashboard: `streamlit run app.py`. Here are the page settings and the menu; the pages are in pages/."""

from pathlib import Path

import streamlit as st

PAGES = Path(__file__).with_name("pages")

if __name__ == "__main__":  # a session's run of the script
    from pages import links
    from pages.parts import messages

    st.set_page_config(page_icon=PAGES / "icon.svg", layout="wide")
    st.logo(PAGES / "logo.svg", size="large")
    page = st.navigation(links.menu())
    links.name_tab(page.title)
    with messages.show_errors():
        page.run()
else:  # the import by the server
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from streamlit.runtime.pages_manager import PagesManager

    from core.datasets.files.uploads import UploadsToDisk

    # Until the first st.navigation, Streamlit takes a folder of this name for its old kind of app, and a link to a
    # page would run that page without this script.
    PagesManager.uses_pages_directory = False

    async def health(request: Request) -> JSONResponse:
        """Say that the server answers."""
        return JSONResponse({"status": "ok"})

    app = st.App(__file__, routes=[Route("/api/health", health)], middleware=[Middleware(UploadsToDisk)])
