#!/usr/bin/env bash
# Print the path of an Apptainer that runs here; if there is none, unpack Debian sid's into a folder of its own.
# Usage: install-apptainer.sh [FOLDER]      (default: ~/.cache/imagenot-toolkit/apptainer)
#
# Sid's package wants a newer glibc than Debian 12 has. It gets sid's own glibc, inside the folder; the system's
# libraries stay as they are. Root is needed only for the packages of apt-apptainer.txt, if they are missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath --canonicalize-missing "${1:-$HOME/.cache/imagenot-toolkit/apptainer}")
program=$target/usr/bin/apptainer

fail() { echo "error: $*" >&2; exit 1; }

configure_apt() { # an apt that knows sid alone, and keeps its lists in $work
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb $("$here/mirror.sh") sid main" >"$work/sources.list"
    cat >"$work/apt.conf" <<CONF
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "";
APT::Update::Post-Invoke-Success {};
CONF
    export APT_CONFIG=$work/apt.conf
}

unpack() {
    (cd "$work" && apt-get -qq update && apt-get -qq download apptainer libc6 libseccomp2 libsqlite3-0) >&2 ||
        fail "Debian sid cannot be read from $("$here/mirror.sh"); install Apptainer 1.2 or later and put it on PATH"
    for package in "$work"/*.deb; do dpkg --extract "$package" "$work/tree"; done
}

relocate() { # the programs look for their libraries in $target, and for etc and var beside their own prefix
    local starter loader libraries
    starter=$(cd "$work/tree" && find usr -path '*/apptainer/bin/starter')
    loader=$(cd "$work/tree" && find usr -name 'ld-linux*' | head --lines 1)
    libraries=${starter%/apptainer/bin/starter}
    for binary in usr/bin/apptainer "$starter"; do
        patchelf --set-interpreter "$target/$loader" --force-rpath --set-rpath "$target/$libraries" "$work/tree/$binary"
    done
    ln --symbolic ../etc ../var "$work/tree/usr/"
    ln --symbolic ../../etc ../../var "$work/tree/usr/lib/"
}

if found=$(command -v apptainer); then echo "$found"; exit; fi
if [ -x "$program" ]; then echo "$program"; exit; fi
[[ $target != *[[:space:]]* ]] || fail "$target has a blank in it, and Apptainer cannot mount an image from there"
command -v apt-get >/dev/null || fail "no apt-get here; install Apptainer 1.2 or later and put it on PATH"
"$here/install-system.sh" "$here/apt-apptainer.txt" >&2

mkdir -p "$(dirname "$target")"
work=$(mktemp --directory "$target.XXXXXX") # on the same file system: the finished folder gets its name by one rename
trap 'rm -rf "$work"' EXIT
configure_apt
unpack
relocate
mv --no-target-directory "$work/tree" "$target" 2>/dev/null || [ -x "$program" ] # someone else was faster
"$program" version >/dev/null || { rm -rf "$target"; fail "sid's Apptainer does not start on this machine"; }
echo "$program"
