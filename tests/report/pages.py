"""A browser's first look at a page."""

import html.parser

VOID = {"meta", "link", "input", "br", "img"}


class Page(html.parser.HTMLParser):
    """Checks that elements are closed, and collects words and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.addresses = [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        found = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}
        self.addresses += [value for name, value in attrs if name in found]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data.strip())
