#!/usr/bin/env bash
# Build the images without a daemon: the Dockerfile by buildah, then toolkit.sif from its archive by Apptainer.
# Usage: build.sh [--slim] [--output FILE.sif] [--mirror URL] [--suite NAME]
#   --slim     only Python and system libraries; the host's virtual environment is bound in (minutes less, 6 GB less)
#   --output   the image's file (default: toolkit.sif, or slim.sif)
#   --mirror   Debian mirror (default: the one this machine's own apt uses)
#   --suite    Debian release of the image (default: bookworm)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
variant=toolkit output='' mirror='' suite=bookworm

fail() { echo "error: $*" >&2; exit 2; }

while [ $# -gt 0 ]; do
    case $1 in
    --slim) variant=slim; shift; continue ;;
    --help) sed --quiet '2,/^set/{/^set/!s/^# \?//p}' "$0"; exit ;;
    --output | --mirror | --suite) [ $# -gt 1 ] || fail "$1 needs a value" ;;
    *) fail "unknown argument $1 (known: --slim --output --mirror --suite --help)" ;;
    esac
    declare "${1#--}=$2"
    shift 2
done
output=$(realpath --canonicalize-missing "${output:-$variant.sif}")
mirror=${mirror:-$("$here/mirror.sh")}
version=$(sed --quiet 's/^__version__ = "\(.*\)"/\1/p' "$here/../toolkit/__init__.py")
revision=$(git -C "$here" describe --always --dirty --abbrev=40 2>/dev/null || echo unknown)

build_sif() { # DEFINITION [BUILD_ARGUMENT...]; %test runs afterwards, in a user namespace, where root may lack capabilities
    local definition=$1 arguments=()
    temporary=${output%.sif}.part.sif
    shift
    trap 'rm -f "$temporary"' EXIT
    for argument in "$@" "VERSION=$version" "REVISION=$revision"; do arguments+=(--build-arg "$argument"); done
    "$apptainer" build --force --notest "${arguments[@]}" "$temporary" "$definition"
    "$apptainer" test --userns "$temporary"
    mv "$temporary" "$output"
}

apptainer=$("$here/install-apptainer.sh")
case $variant in
slim) build_sif "$here/slim.def" "MIRROR=$mirror" "SUITE=$suite" ;;
esac
echo "$output: $(stat --format %s "$output" | numfmt --to=iec), built and tested"
