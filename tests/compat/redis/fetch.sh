#!/bin/sh
# Fetches Redis' own test suite (BSD-3) into a folder: the Tcl files of Debian's source package of redis, unchanged.
#
#   tests/compat/redis/fetch.sh [FOLDER]        default: ~/.cache/elastickv/redis-suite
#
# Nothing of it is kept in this repository, and nothing is compiled. A folder that has the suite is left alone.
set -eu

suite=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/elastickv/redis-suite}
if [ -f "$suite/tests/test_helper.tcl" ]; then
    echo "$suite"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The package lists of sources, beside those of the system, which may not have any.
mkdir -p "$work/lists/partial" "$work/sources.d"
for list in /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" > "$work/sources.d/$(basename "$list")"
done
if [ -f /etc/apt/sources.list ]; then
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > "$work/sources.d/system.list"
fi
set -- -qq -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$work/sources.d" \
    -o "Dir::State::lists=$work/lists" -o "APT::Sandbox::User=root"
apt-get "$@" update >&2
(cd "$work" && apt-get "$@" source --download-only redis >&2)

archive=$(find "$work" -name 'redis_*.orig.tar.gz' | head -n 1)
[ -n "$archive" ] || { echo "the source package of redis could not be fetched" >&2; exit 1; }
mkdir -p "$work/unpacked"
tar -xzf "$archive" -C "$work/unpacked" --strip-components=1
mkdir -p "$suite/src"
mv "$work/unpacked/tests" "$work/unpacked/utils" "$work/unpacked/COPYING" "$suite/"
# The suite looks for these beside itself.
for program in redis-cli redis-benchmark; do
    ln -sf "$(command -v $program)" "$suite/src/$program"
done
echo "$suite"
