#!/usr/bin/env bash
# Install the Debian packages listed in the given files, if any is missing. Usage: install-system.sh LIST...
set -euo pipefail

missing=()
for package in $(cat "$@"); do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null; then
    as_root=(sudo)
else
    echo "error: missing system packages: ${missing[*]}; install them as root, or work in the container, which has them (docs/containers.md)" >&2
    exit 1
fi
echo "installing ${#missing[@]} system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
