#!/usr/bin/env bash
# Build the images without a daemon: the Dockerfile by buildah, then toolkit.sif from its archive by Apptainer.
# An ordinary user gets toolkit.sif by Apptainer alone, in a user namespace, from a public base, without FFCV.
# Usage: build.sh [--slim] [--output FILE.sif] [--base IMAGE] [--mirror URL] [--suite NAME]
#   --slim     only Python and system libraries; a virtual environment of the host is bound in (a minute, 3 GB less)
#   --output   the image's file (default: toolkit.sif, or slim.sif); the Docker archive stays beside it as FILE.tar, and
#              the bill of materials (CycloneDX: every package of Python and Debian) as FILE.cdx.json
#   --base     the Dockerfile's base image (default: a Debian made here from the mirror, so no registry is needed);
#              without root as Apptainer names it (default: docker://python:3.11-slim-bookworm; docker-archive:FILE.tar)
#   --mirror   Debian mirror (default: the one this machine's own apt uses: Debian as it is today; a snapshot's address,
#              .../20261101T000000Z, gives that day's)
#   --suite    Debian release of a base made here (default: bookworm)
# Root is needed for --slim and the archive. A site's package index and certificate are taken from PIP_INDEX_URL,
# PIP_EXTRA_INDEX_URL and PIP_CERT; they are used for the build and are not in the image.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
variant=toolkit output='' base='' mirror='' suite=bookworm

usage() { echo "error: $*" >&2; exit 2; }

while [ $# -gt 0 ]; do
    case $1 in
    --slim) variant=slim; shift; continue ;;
    --help) sed --quiet '2,/^set/{/^set/!s/^# \?//p}' "$0"; exit ;;
    --output | --base | --mirror | --suite) [ $# -gt 1 ] || usage "$1 needs a value" ;;
    *) usage "unknown argument $1 (known: --slim --output --base --mirror --suite --help)" ;;
    esac
    declare "${1#--}=$2"
    shift 2
done
output=$(realpath --canonicalize-missing "${output:-$variant.sif}")
archive=${output%.sif}.tar
version=$(sed --quiet 's/^__version__ = "\(.*\)"/\1/p' "$root/toolkit/__init__.py")
revision=$(git -C "$root" describe --always --dirty --abbrev=40 2>/dev/null || echo unknown)
made=$(date --utc +%Y-%m-%dT%H:%M:%SZ)
runtime=$(paste --serial --delimiters=, "$here/apt-runtime.txt")

work=$(mktemp --directory "$(dirname "$output")/.build-XXXXXX")
trap 'rm -rf "$work"' EXIT

make_base() { # prints the name of an image with a bare Debian in it
    debootstrap --force-check-gpg --variant=minbase "$suite" "$work/base" "$mirror" >&2
    tar --create --file "$work/base.tar" --directory "$work/base" .
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/base.tar" / >&2
    buildah commit --quiet --rm "$container" imagenot-toolkit-base
    rm -rf "$work/base" "$work/base.tar"
}

make_settings() { # a site's index and certificate, read by the build alone
    [ -z "${PIP_INDEX_URL:-}" ] || printf 'export PIP_INDEX_URL=%q UV_DEFAULT_INDEX=%q\n' "$PIP_INDEX_URL" "$PIP_INDEX_URL"
    [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || printf 'export PIP_EXTRA_INDEX_URL=%q UV_INDEX=%q\n' "$PIP_EXTRA_INDEX_URL" "$PIP_EXTRA_INDEX_URL"
    [ -z "${PIP_CERT:-}" ] || echo "export PIP_CERT=/src/site/ca.crt SSL_CERT_FILE=/src/site/ca.crt"
}

build_rootless() { # what pip installs, in a user namespace; not compressed, for the next step reads it at once
    mkdir "$work/site" # goes into the build, and out of it again
    make_settings >"$work/site/settings.sh"
    [ -z "${PIP_CERT:-}" ] || cp "$PIP_CERT" "$work/site/ca.crt"
    printf '%s\n' "BOOTSTRAP=${base%%:*}" "FROM=${base#*:}" "SITE=$work/site" >"$work/arguments"
    (cd "$root" && "$apptainer" build --fakeroot --notest --build-arg-file "$work/arguments" \
        --mksquashfs-args '-noI -noD -noF -noX' "$work/packages.sif" "$here/rootless.def")
}

base_name() { # what the base is, without naming a site's mirror
    if [ -n "$base" ]; then
        echo "$base"
    elif [[ $mirror =~ /([0-9]{8}T[0-9]{6}Z)/?$ ]]; then
        echo "Debian $suite, snapshot ${BASH_REMATCH[1]}"
    else
        echo "Debian $suite as it was on ${made%T*}"
    fi
}

make_pip_conf() { # a certificate keeps its content, at a path of its own in the build
    echo "[global]"
    [ -z "${PIP_INDEX_URL:-}" ] || echo "index-url = $PIP_INDEX_URL"
    [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || echo "extra-index-url = $PIP_EXTRA_INDEX_URL"
    [ -z "${PIP_CERT:-}" ] || echo "cert = /run/build-ca.crt"
}

build_archive() {
    local certificate=()
    [ -z "${PIP_CERT:-}" ] || certificate=(--volume "$PIP_CERT:/run/build-ca.crt:ro")
    make_pip_conf >"$work/pip.conf"
    buildah bud --isolation chroot --network host "${certificate[@]}" --secret "id=pip.conf,src=$work/pip.conf" \
        --build-arg "BASE=$base" --build-arg "BASE_NAME=$base_name" --build-arg "VERSION=$version" \
        --build-arg "REVISION=$revision" \
        --file "$here/Dockerfile" --ignorefile "$here/Dockerfile.dockerignore" --tag "imagenot-toolkit:$version" "$root"
    rm -f "$archive"
    buildah push --quiet "imagenot-toolkit:$version" "docker-archive:$archive:imagenot-toolkit:$version"
}

build_sif() { # DEFINITION [BUILD_ARGUMENT...]; %test runs afterwards, in a user namespace: root may lack capabilities
    printf '%s\n' "${@:2}" "VERSION=$version" "REVISION=$revision" "BASE_NAME=$base_name" "MADE=$made" \
        >"$work/arguments" # a file: values may have commas
    "$apptainer" build --notest --build-arg-file "$work/arguments" \
        --mksquashfs-args '-comp zstd -Xcompression-level 3' "$work/image.sif" "$1"
    "$apptainer" test --userns "$work/image.sif"
    mv "$work/image.sif" "$output"
}

make_sbom() { # [LOCK...]; what the image has, by its own dpkg, and what was installed of the locks
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement "$here/tools.lock"
    "$apptainer" exec --userns "$output" dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' \
        | "$work/tools/bin/python" "$here/sbom.py" "imagenot-toolkit-$variant" "$version" "$@" >"$work/sbom"
    mv "$work/sbom" "${output%.sif}.cdx.json"
}

apptainer=$("$here/install-apptainer.sh")
[ -w /dev/fuse ] || export APPTAINER_UNSQUASH=true # an image that cannot be mounted is unpacked to be run
if [ "$variant" = toolkit ] && [ "$(id -u)" -ne 0 ]; then
    base=${base:-docker://python:3.11-slim-bookworm}
    base_name=$base
    build_rootless
    build_sif "$here/toolkit.def" BOOTSTRAP=localimage "FROM=$work/packages.sif"
    "$apptainer" exec --userns "$output" cat /opt/toolkit/packages.txt >"$work/packages.txt"
    make_sbom "$work/packages.txt"
    echo "$output: $(stat --format %s "$output" | numfmt --to=iec), built and tested"
    exit
fi
mirror=${mirror:-$("$here/mirror.sh")}
base_name=$(base_name)
if [ "$variant" = slim ]; then
    build_sif "$here/slim.def" "MIRROR=$mirror" "SUITE=$suite" "PACKAGES=$runtime"
    make_sbom
else
    "$here/install-system.sh" "$here/apt-build.txt"
    base=${base:-$(make_base)}
    build_archive
    build_sif "$here/toolkit.def" "FROM=$archive"
    make_sbom "$here/build.lock" "$here/image.lock"
fi
echo "$output: $(stat --format %s "$output" | numfmt --to=iec), built and tested"
