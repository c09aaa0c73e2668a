"""The notice at a study's end: a mail by Slurm, a command, a web hook; as the profile's ``[notify]`` says."""

import json
import logging
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping

from toolkit.cluster.profile import Profile
from toolkit.cluster.queue import slurm
from toolkit.errors import ToolkitError
from toolkit.study import Study
from toolkit.visible import visible

log = logging.getLogger(__name__)
ANSWER_S = 60
"""Seconds that a command or a web hook may take."""


def notify(study: Study, profile: Profile, states: Mapping[str, int]) -> None:
    """Tell that nothing runs or waits any more. What cannot be told is said in a line: the study is what it is."""
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    text = f"study {visible(study.name)}: {told}"
    document = {"text": text, "study": str(study.path.absolute()), "states": dict(states)}
    wanted = profile.notify
    for address, tell in ((wanted.command, _run), (wanted.webhook, _post), (wanted.mail, _mail)):
        if address:
            try:
                tell(address, document, profile)
            except (OSError, ValueError, subprocess.SubprocessError, ToolkitError) as error:
                log.info("note: no notice by %s (%s)", address, error)


def _run(command: str, document: Mapping[str, object], profile: Profile) -> None:
    """The text is its standard input, and ``TOOLKIT_STUDY`` the study's folder."""
    around = {**os.environ, "TOOLKIT_STUDY": str(document["study"])}
    subprocess.run(
        ["bash", "-c", command], input=f"{document['text']}\n", env=around, text=True, timeout=ANSWER_S, check=True
    )


def _post(address: str, document: Mapping[str, object], profile: Profile) -> None:
    """The document as JSON; its field ``text`` is what Slack and Mattermost show."""
    if not address.startswith(("http://", "https://")):
        raise ValueError("no http address")
    body, kind = json.dumps(document).encode(), {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, kind), timeout=ANSWER_S):
            pass
    except urllib.error.HTTPError as error:
        raise ValueError(f"status {error.code}") from error


def _mail(address: str, document: Mapping[str, object], profile: Profile) -> None:
    """Slurm's own mail at the end of a job that does nothing, and whose name tells how the study stands."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(document["text"]))
    who = {"partition": profile.partition, "account": profile.account, "qos": profile.qos}
    options = [f"--{option}={value}" for option, value in who.items() if value]
    mail = ["--mail-type=END", f"--mail-user={address}", f"--job-name={name}"]
    slurm("sbatch", "--parsable", *options, *mail, "--time=1", "--output=/dev/null", "--wrap=true")
