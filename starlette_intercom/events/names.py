"""Whether an event's name says what was done to what, as Intercom recommends."""

from __future__ import annotations

import logging
import re

from ..errors import InvalidEvent

logger = logging.getLogger(__name__)

# Names that are remembered, at most: Intercom itself takes 120 a workspace.
_MAX_KNOWN = 1000

# Words end at anything that is no letter, and where a capital follows a small letter.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_PAST_TENSES_WITHOUT_ED = """
    ate became began bent bet bit blew bought bound broke brought built came caught chose cost cut dealt did drank drew
    drove fed fell felt flew foresaw forgave forgot fought found froze gave got grew had heard held hid hit hung hurt
    kept knew laid led left lent let lit lost made meant met oversaw overrode overwrote paid put quit ran rang read
    rebuilt redid remade repaid resent reset rode rose sang sat saw sent set shook shot shown shut slept sold sought
    spent split spoke spread spun stood stuck swam swept swore taught thought threw told took tore underwent understood
    undid unsent upheld went withdrew woke won wore wrote
"""
_ENDS_WITH_ED_BUT_IS_NONE = """
    bed bleed breed embed exceed feed hundred need proceed red seed shed sled speed succeed weed
"""
_IRREGULAR = frozenset(_PAST_TENSES_WITHOUT_ED.split())
_NOT_PAST = frozenset(_ENDS_WITH_ED_BUT_IS_NONE.split())


def looks_past_tense(name: str) -> bool:
    """Tell whether a name looks like a verb in the past tense and a noun, such as ``placed-order``.

    Adverbs before the verb are skipped. This is a guess for advice: a name for which it is False works as well.

    Args:
        name: the event's name, in any spelling: ``placed-order``, ``placed order``, ``PlacedOrder``.

    Returns:
        False for names such as ``order``, ``click`` and ``page_view``.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 2 and (words[0].endswith("ly") or words[0] in {"re", "auto", "un"}):
        del words[0]
    if len(words) < 2:
        # Other alphabets than ours are nobody's mistake.
        return not name.isascii()
    verb = words[0]
    return verb in _IRREGULAR or (verb.endswith("ed") and len(verb) > 3 and verb not in _NOT_PAST)


class NameCheck:
    """Gives advice about names, once for each, or insists on it.

    Args:
        strict: whether a name that does not look right is refused instead.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._known: set[str] = set()

    def __call__(self, name: str) -> None:
        """Look at a name.

        Args:
            name: the event's name.

        Raises:
            InvalidEvent: the check is strict and the name does not look like ``placed-order``.
        """
        if name in self._known:
            return
        if not looks_past_tense(name):
            advice = "is no verb in the past tense with a noun, such as 'placed-order', which Intercom recommends"
            if self._strict:
                raise InvalidEvent("name", advice)
            logger.warning("The event name %r %s", name, advice)
        if len(self._known) < _MAX_KNOWN:
            self._known.add(name)
