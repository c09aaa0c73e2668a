#!/usr/bin/env bash
# Print the mirror this machine's own apt takes its release from, so that no file has to name one.
set -euo pipefail

codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get --print-uris update | sed --quiet "s|^'\(.*\)/dists/$codename/InRelease'.*|\1|p" | head --lines 1)
[ -n "$mirror" ] || { echo "error: apt's sources have no mirror of $codename; give one by --mirror" >&2; exit 1; }
echo "$mirror"
