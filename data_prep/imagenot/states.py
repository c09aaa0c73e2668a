"""What becomes of a URL."""

SUCCESS, DEAD, UNFIT = "success", "failed_to_download", "failed_to_resize"
LATER, REFUSED, CHANGED = "later", "refused", "changed"
STATES = (SUCCESS, DEAD, UNFIT, LATER, REFUSED, CHANGED)
"""An image; nothing there; no image that can be used; nothing for a passing reason; not to be taken, or not to be
asked; an image, but not the one that the metadata has the hash of. The first three have the names that older build
folders have them under."""

TAKEN_DOWN = "taken_down"
"""An image that came, and was removed on request."""


class Failed(Exception):
    """No image from a URL: its state, and why."""

    def __init__(self, state: str, reason: str, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.state, self.reason = state, reason
        self.unreachable = unreachable
        """Whether the host could not be resolved or connected to."""
